--@include lib/next_position
-- Appends one entry to the log at the shard's next position and moves the shard on. Returns false, with nothing written,
-- if the log is missing. The first write of every script: if memory is short it is refused, and so is the whole call.
local function append_entry(shard, log_key, kind, data, picks, orders)
  local id = string.format('%.0f-%d', shard.ms, shard.sequence)
  local number = shard.number + 1
  if not redis.call('XADD', log_key, 'NOMKSTREAM', id, 'epoch', shard.epoch, 'number', number, 'kind', kind,
    'data', data, 'picks', picks) then
    return false
  end
  shard.number = number
  shard.last_ms, shard.last_sequence = shard.ms, shard.sequence
  shard.appended_orders = shard.appended_orders + orders
  shard.appended_bytes = shard.appended_bytes + #data + #picks
  redis.call('HSET', shard.meta_key, 'last_ms', shard.last_ms, 'last_sequence', shard.last_sequence, 'number', number,
    'appended_orders', shard.appended_orders, 'appended_bytes', shard.appended_bytes)
  next_position(shard)
  return true
end
