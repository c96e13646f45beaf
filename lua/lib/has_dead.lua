-- Whether the hash of dead letters exists: it does from the opening of the shard on, however few they are.
local function has_dead(dead_key)
  return redis.call('HEXISTS', dead_key, '-') == 1
end
