-- Ends a drop for good: by an operator from anything but cancelled, by the clock once its window is over.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms, data, operator or clock
-- RETURNS changed, unchanged, invalid-transition, shard-recovering, past-deadline
--   changed, unchanged, invalid-transition: token, epoch, clock, fields of the drop
-- LOGS closed
--@include lib/enter
--@include lib/change_drop
--@include lib/drop_reply
--@include lib/clear_window_timers
--@include lib/set_purge_timer
--@include lib/is_over
--@include lib/is_whole
--@include lib/none_held
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local by = ARGV[4]

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'ends_ms', 'over_ms', 'purged')
local state = drop[1]
if not (state and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
if state == 'ended' or (state == 'cancelled' and by == 'clock') then
  clear_window_timers(timers_key, drop_key)
  -- An order that saw the window pass ended the drop without its timers.
  if not drop[4] then set_purge_timer(timers_key, drop_key, drop[3]) end
  return drop_reply('unchanged', shard, drop_key)
end
if state == 'cancelled' then return drop_reply('invalid-transition', shard, drop_key) end
if by == 'clock' and not is_over(drop[2], shard.ms) then return drop_reply('invalid-transition', shard, drop_key) end

local over_ms = shard.ms
local reply = change_drop(shard, log_key, unsettled_key, timers_key, drop_key, 'closed', ARGV[3],
  none_held(drop_key, {'state', 'ended', 'over_ms', over_ms}))
if reply[1] == 'changed' then
  clear_window_timers(timers_key, drop_key)
  set_purge_timer(timers_key, drop_key, over_ms)
end
return reply
