-- A drop's fields, in the order in which `LiveDrop` is read in Rust; nil if the drop is missing.
local function read_drop(drop_key)
  local fields = redis.call('HMGET', drop_key, 'sku', 'state', 'starts_ms', 'ends_ms', 'limit_per_user', 'price_minor',
    'currency', 'cancellable_for_s', 'cancellations_per_user', 'total', 'available', 'held', 'sold', 'version',
    'purged', 'durability', 'stripes', 'sent', 'received', 'hold_ms')
  if not fields[2] then return nil end
  return fields
end
