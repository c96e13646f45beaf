-- Writes the hash of dead letters of a shard that has none. It exists from here on, so a missing one is loss.
local function create_dead(dead_key)
  redis.call('DEL', dead_key)
  redis.call('HSET', dead_key, '-', 0)
end
