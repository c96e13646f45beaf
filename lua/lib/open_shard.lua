--@include lib/read_clock
--@include lib/read_token
--@include lib/next_position
-- Reads what every script must know of its shard before anything else. Returns nil behind the fence: when this Redis
-- process is not the one that the shard trusts, or the shard was never set up.
local function open_shard(meta_key)
  local meta = redis.call('HMGET', meta_key, 'token', 'epoch', 'last_ms', 'last_sequence', 'number', 'floor',
    'appended_orders', 'acknowledged_orders', 'appended_bytes', 'acknowledged_bytes', 'adopted_ms')
  for field = 1, 10 do
    if not meta[field] then return nil end
  end
  if meta[1] ~= read_token() then return nil end
  local shard = {
    meta_key = meta_key,
    token = meta[1],
    epoch = tonumber(meta[2]),
    last_ms = tonumber(meta[3]),
    last_sequence = tonumber(meta[4]),
    number = tonumber(meta[5]),
    floor = tonumber(meta[6]),
    appended_orders = tonumber(meta[7]),
    acknowledged_orders = tonumber(meta[8]),
    appended_bytes = tonumber(meta[9]),
    acknowledged_bytes = tonumber(meta[10]),
    adopted_ms = tonumber(meta[11] or 0),
    time_ms = read_clock(),
  }
  next_position(shard)
  return shard
end
