--@include lib/drop_id
-- Sets the timers of a drop's window: when it ends, if it has an end, and when it starts, unless `starts_ms` is nil
-- because it has started. A timer that is due already fires at once.
local function set_timers(timers_key, drop_key, starts_ms, ends_ms)
  local id = drop_id(drop_key)
  if starts_ms then redis.call('ZADD', timers_key, starts_ms, 'start:' .. id) end
  if ends_ms == '' then
    redis.call('ZREM', timers_key, 'end:' .. id)
  else
    redis.call('ZADD', timers_key, ends_ms, 'end:' .. id)
  end
end
