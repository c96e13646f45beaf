--@include lib/is_pending
--@include lib/last_delivered
-- Whether an entry is in the log and not acknowledged, given to a persister or not.
local function is_waiting(log_key, id)
  if #redis.call('XRANGE', log_key, id, id) == 0 then return false end
  if is_pending(log_key, id) then return true end
  local ms, sequence = string.match(id, '(%d+)-(%d+)')
  local last_ms, last_sequence = last_delivered(log_key)
  ms, last_ms = tonumber(ms), tonumber(last_ms)
  return ms > last_ms or (ms == last_ms and tonumber(sequence) > tonumber(last_sequence))
end
