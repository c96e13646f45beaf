--@include lib/drop_id
-- Sets the timer that has a drop looked at for its purge, unless it has one. Whoever fires it knows how long a drop is kept,
-- and moves the timer to when that is over.
local function set_purge_timer(timers_key, drop_key, over_ms)
  redis.call('ZADD', timers_key, 'NX', over_ms, 'purge:' .. drop_id(drop_key))
end
