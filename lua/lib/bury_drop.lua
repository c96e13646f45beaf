--@include lib/clear_window_timers
--@include lib/drop_id
-- Leaves a tombstone of a drop: what reads need, with these last figures. The records of its users and the keys of its
-- restocks go. `UNLINK` hands the records to a thread of Redis's own, so their number holds nobody up. The hash that held
-- them stays with its sentinel: as with any other drop, a missing key is loss.
-- `figures` is a list: state, starts_ms, ends_ms, limit_per_user, total, sold, sent, received.
local function bury_drop(timers_key, drop_key, users_key, figures)
  local restocks = {}
  for _, field in ipairs(redis.call('HKEYS', drop_key)) do
    if string.sub(field, 1, 8) == 'restock:' then restocks[#restocks + 1] = field end
  end
  if #restocks > 0 then redis.call('HDEL', drop_key, unpack(restocks)) end
  redis.call('UNLINK', users_key)
  redis.call('HSET', users_key, '-', 1)
  redis.call('HSET', drop_key, 'purged', 1, 'state', figures[1], 'starts_ms', figures[2], 'ends_ms', figures[3],
    'limit_per_user', figures[4], 'total', figures[5], 'available', tonumber(figures[5]) - tonumber(figures[6]),
    'held', 0, 'sold', figures[6], 'sent', figures[7], 'received', figures[8])
  clear_window_timers(timers_key, drop_key)
  local id = drop_id(drop_key)
  redis.call('ZREM', timers_key, 'withdraw:' .. id, 'purge:' .. id, 'release:' .. id,
    'activate:' .. id, 'spread:' .. id)
end
