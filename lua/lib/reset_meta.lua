-- Writes into `meta` that the shard's history is empty.
local function reset_meta(meta_key)
  redis.call('HSET', meta_key, 'epoch', 0, 'line', 0, 'number', 0, 'last_ms', 0, 'last_sequence', 0, 'appended_orders', 0,
    'acknowledged_orders', 0, 'appended_bytes', 0, 'acknowledged_bytes', 0)
end
