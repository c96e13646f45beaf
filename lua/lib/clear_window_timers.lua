--@include lib/drop_id
-- Takes the timers of a drop's window away: it is over, or called off.
local function clear_window_timers(timers_key, drop_key)
  local id = drop_id(drop_key)
  redis.call('ZREM', timers_key, 'start:' .. id, 'end:' .. id)
end
