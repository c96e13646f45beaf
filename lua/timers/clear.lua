-- Takes a timer of a drop away. If the drop was changed since it was read, the timer is due again in a second instead.
--
-- KEYS 3: meta, timers, drop
-- ARGV deadline_ms, floor_ms, name of the timer, version of the drop when it was read
-- RETURNS cleared, later, shard-recovering, past-deadline
--   cleared, later: token
-- LOGS nothing
--@include lib/enter
--@include lib/has_sentinel
local timers_key, timer = KEYS[2], ARGV[3]
local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local version = redis.call('HGET', KEYS[3], 'version')
if not (version and has_sentinel(timers_key)) then return {'shard-recovering'} end
if tonumber(version) > tonumber(ARGV[4]) then
  redis.call('ZADD', timers_key, 'XX', shard.time_ms + 1000, timer)
  return {'later', shard.token}
end
redis.call('ZREM', timers_key, timer)
return {'cleared', shard.token}
