-- Takes a shard whose drops were wiped back to an empty history. Its dead letters come back from the archive.
--
-- KEYS 6: meta, log, unsettled, timers, drops, dead
-- ARGV epoch, token
-- RETURNS reset, superseded
-- LOGS nothing
--@include lib/guard
--@include lib/create_shard
local refusal = guard(KEYS[1], tonumber(ARGV[1]), ARGV[2])
if refusal then return refusal end
create_shard(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
return {'reset'}
