-- Takes a dead letter away, if it is there. A drop without any is settled when the entries up to this moment are.
local function take_letter(shard, unsettled_key, dead_key, drop, fact)
  if redis.call('HDEL', dead_key, fact) == 0 then return end
  redis.call('HINCRBY', dead_key, '-', -1)
  if redis.call('HINCRBY', dead_key, 'drop:' .. drop, -1) == 0 then
    redis.call('HDEL', dead_key, 'drop:' .. drop)
    redis.call('ZADD', unsettled_key, shard.number, drop)
  end
end
