-- The timers that are due by the shard's clock.
--
-- KEYS 2: meta, timers
-- ARGV most timers
-- RETURNS due, shard-recovering
--   due: clock, then name and due time of each
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_sentinel
local shard = open_shard(KEYS[1])
if not shard or not has_sentinel(KEYS[2]) then return {'shard-recovering'} end
local reply = {'due', math.max(shard.time_ms, shard.last_ms)}
for _, word in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', reply[2], 'WITHSCORES', 'LIMIT', 0, ARGV[1])) do
  reply[#reply + 1] = word
end
return reply
