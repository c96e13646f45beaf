-- The number up to which every entry is acknowledged, and so archived; and the time (ms) of the oldest that is not, '' if none.
local function settled_number(shard, log_key)
  local left = redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1]
  if not left then return shard.number, '' end
  return tonumber(left[2][4]) - 1, string.match(left[1], '%d+')
end
