-- Notes that a drop's window began, so that its version tells of it. The window itself is judged by the clock.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms, data
-- RETURNS changed, unchanged, shard-recovering, past-deadline
--   changed, unchanged: token, epoch, clock, fields of the drop
-- LOGS started
--@include lib/enter
--@include lib/change_drop
--@include lib/drop_reply
--@include lib/drop_id
--@include lib/is_whole
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'starts_ms')
if not (drop[1] and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
local timer = 'start:' .. drop_id(drop_key)
if drop[1] == 'ended' or drop[1] == 'cancelled' then
  -- Ended, by a call that saw its window pass, before its start was noted.
  redis.call('ZREM', timers_key, timer)
  return drop_reply('unchanged', shard, drop_key)
end
if not redis.call('ZSCORE', timers_key, timer) then return drop_reply('unchanged', shard, drop_key) end
-- An operator may have moved the start since the timer was read.
if shard.ms < tonumber(drop[2]) then return drop_reply('unchanged', shard, drop_key) end

local reply = change_drop(shard, log_key, unsettled_key, timers_key, drop_key, 'started', ARGV[3], {})
if reply[1] == 'changed' then redis.call('ZREM', timers_key, timer) end
return reply
