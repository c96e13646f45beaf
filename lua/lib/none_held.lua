-- What a drop's stock is with nothing held any more: as fields and values for `touch_drop`, behind those that are given.
local function none_held(drop_key, fields)
  local stock = redis.call('HMGET', drop_key, 'available', 'held')
  fields[#fields + 1] = 'available'
  fields[#fields + 1] = tonumber(stock[1]) + tonumber(stock[2])
  fields[#fields + 1] = 'held'
  fields[#fields + 1] = 0
  return fields
end
