--@include lib/read_clock
--@include lib/has_token
--@include lib/next_position
-- Reads what every script must know of its shard before anything else. Returns nil behind the fence: when this Redis
-- process is not the one that the shard trusts, or the shard was never set up.
local function open_shard(meta_key)
  local meta = redis.call('HMGET', meta_key, 'token', 'epoch', 'last_ms', 'last_sequence', 'number', 'floor',
    'appended_orders', 'acknowledged_orders', 'appended_bytes', 'acknowledged_bytes', 'adopted_ms')
  for field = 1, 10 do
    if not meta[field] then return nil end
  end
  if not has_token(meta[1]) then return nil end
  local shard = {
    meta_key = meta_key,
    token = meta[1],
    epoch = tonumber(meta[2]),
    last_ms = tonumber(meta[3]),
    last_sequence = tonumber(meta[4]),
    number = tonumber(meta[5]),
    floor = tonumber(meta[6]),
    -- Text, as few scripts need them: who adds to them has numbers, and who compares must make numbers of them first.
    appended_orders = meta[7],
    acknowledged_orders = meta[8],
    appended_bytes = meta[9],
    acknowledged_bytes = meta[10],
    adopted_ms = meta[11] or '0',
    time_ms = read_clock(),
    -- Where `next_position` moves it.
    ms = 0,
    sequence = 0,
  }
  next_position(shard)
  return shard
end
