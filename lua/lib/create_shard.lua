-- Writes the keys of a shard whose history is empty: everything exists from here on, so a missing key is loss.
local function create_shard(meta_key, log_key, unsettled_key, timers_key, drops_key)
  redis.call('DEL', log_key, unsettled_key, timers_key, drops_key)
  redis.call('XGROUP', 'CREATE', log_key, 'persister', '0', 'MKSTREAM')
  redis.call('ZADD', unsettled_key, '+inf', '-')
  redis.call('ZADD', timers_key, '+inf', '-')
  redis.call('SADD', drops_key, '-')
  redis.call('HSET', meta_key, 'epoch', 0, 'line', 0, 'number', 0, 'last_ms', 0, 'last_sequence', 0, 'appended_orders', 0,
    'acknowledged_orders', 0, 'appended_bytes', 0, 'acknowledged_bytes', 0)
end
