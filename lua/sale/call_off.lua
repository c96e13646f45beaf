-- Calls a drop off, unless it was purged. It grants nothing from here on; a worker then cancels its orders one after another.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms, data
-- RETURNS changed, unchanged, invalid-transition, shard-recovering, past-deadline
--   changed, unchanged, invalid-transition: token, epoch, clock, fields of the drop
-- LOGS called_off
--@include lib/enter
--@include lib/change_drop
--@include lib/drop_reply
--@include lib/clear_window_timers
--@include lib/set_purge_timer
--@include lib/drop_id
--@include lib/is_whole
--@include lib/none_held
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'purged')
local state = drop[1]
if not (state and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
if state == 'cancelled' then return drop_reply('unchanged', shard, drop_key) end
if drop[2] then return drop_reply('invalid-transition', shard, drop_key) end

local over_ms = shard.ms
local reply = change_drop(shard, log_key, unsettled_key, timers_key, drop_key, 'called_off', ARGV[3],
  none_held(drop_key, {'state', 'cancelled', 'over_ms', over_ms}))
if reply[1] == 'changed' then
  clear_window_timers(timers_key, drop_key)
  -- Due at once: the worker that cancels the orders takes this timer away when none is left.
  redis.call('ZADD', timers_key, shard.time_ms, 'withdraw:' .. drop_id(drop_key))
  set_purge_timer(timers_key, drop_key, over_ms)
end
return reply
