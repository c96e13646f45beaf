-- Takes a timer away that has done its work.
--
-- KEYS 2: meta, timers
-- ARGV deadline_ms, floor_ms, name
-- RETURNS removed, shard-recovering, past-deadline
--   removed: token
-- LOGS nothing
--@include lib/enter
--@include lib/has_sentinel
local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
if not has_sentinel(KEYS[2]) then return {'shard-recovering'} end
redis.call('ZREM', KEYS[2], ARGV[3])
return {'removed', shard.token}
