--@include lib/create_dead
--@include lib/reset_meta
-- Writes the keys of a shard whose history is empty: everything exists from here on, so a missing key is loss.
local function create_shard(meta_key, log_key, unsettled_key, timers_key, drops_key, dead_key)
  redis.call('DEL', log_key, unsettled_key, timers_key, drops_key)
  redis.call('XGROUP', 'CREATE', log_key, 'persister', '0', 'MKSTREAM')
  redis.call('ZADD', unsettled_key, '+inf', '-')
  redis.call('ZADD', timers_key, '+inf', '-')
  redis.call('SADD', drops_key, '-')
  create_dead(dead_key)
  reset_meta(meta_key)
end
