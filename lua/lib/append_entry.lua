--@include lib/next_position
-- Appends one entry to the log at the shard's next position and moves the shard on. Returns false, with nothing written,
-- if the log is missing. The first write of every script: if memory is short it is refused, and so is the whole call.
-- Traces, if there are any, are a field of their own behind the others, so that a reader who does not know it passes over it;
-- they are no part of the log's bound, as such a reader could not give them back.
local function append_entry(shard, log_key, kind, data, picks, orders, traces)
  local id = string.format('%.0f-%d', shard.ms, shard.sequence)
  local number, more = shard.number + 1, {}
  if traces then more[1], more[2] = 'trace', traces end
  if not redis.call('XADD', log_key, 'NOMKSTREAM', id, 'epoch', shard.epoch, 'number', number, 'kind', kind,
    'data', data, 'picks', picks, unpack(more)) then
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
