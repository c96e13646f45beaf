-- How many dead letters there are.
--
-- KEYS 2: meta, dead
-- RETURNS counted, shard-recovering
--   counted: how many
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_dead
local shard = open_shard(KEYS[1])
if not shard or not has_dead(KEYS[2]) then return {'shard-recovering'} end
return {'counted', redis.call('HGET', KEYS[2], '-')}
