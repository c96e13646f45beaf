--@include lib/drop_id
-- Gives units back to a drop at `ms`, the last step of a call that was logged. Where none is left to order, api processes may
-- refuse by what they knew up to `hold_ms` ago, so such units are held for that long before anybody can order them; those
-- that follow join them, as no process has learned in between that the drop is sold out and nothing is held.
local function give_back(timers_key, drop_key, units, ms)
  local drop = redis.call('HMGET', drop_key, 'state', 'available', 'held', 'hold_ms')
  local hold_ms = tonumber(drop[4] or 0)
  if hold_ms == 0 or tonumber(drop[2]) > 0 or not (drop[1] == 'open' or drop[1] == 'paused') then
    redis.call('HINCRBY', drop_key, 'available', units)
    return
  end
  redis.call('HINCRBY', drop_key, 'held', units)
  if tonumber(drop[3]) == 0 then
    redis.call('HSET', drop_key, 'release_ms', ms + hold_ms)
    redis.call('ZADD', timers_key, ms + hold_ms, 'release:' .. drop_id(drop_key))
  end
end
