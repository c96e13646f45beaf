--@include lib/drop_id
-- Has a worker see to it that all stripes of a drop become what its home is, should the process that changes them die halfway.
local function set_spread_timer(shard, timers_key, drop_key)
  if (redis.call('HGET', drop_key, 'stripes') or '') == '' then return end
  redis.call('ZADD', timers_key, shard.time_ms + 1000, 'spread:' .. drop_id(drop_key))
end
