-- Changes a drop's window and limit while it is scheduled, or only its end while it is live, sold out or paused.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms, data, starts_ms, ends_ms, limit_per_user, version that data was made for
-- RETURNS changed, unchanged, invalid-transition, invalid-window, stale, shard-recovering, past-deadline
--   all but the last two: token, epoch, clock, fields of the drop
-- LOGS amended
--@include lib/enter
--@include lib/change_drop
--@include lib/drop_reply
--@include lib/is_over
--@include lib/set_timers
--@include lib/is_whole
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local starts_ms, ends_ms, limit = ARGV[4], ARGV[5], ARGV[6]

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'starts_ms', 'ends_ms', 'limit_per_user')
local state = drop[1]
if not (state and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
if drop[2] == starts_ms and drop[3] == ends_ms and drop[4] == limit then return drop_reply('unchanged', shard, drop_key) end
local running = (state == 'open' or state == 'paused') and not is_over(drop[3], shard.ms)
local scheduled = state == 'open' and shard.ms < tonumber(drop[2])
local only_the_end = drop[2] == starts_ms and drop[4] == limit
if not (scheduled or (running and only_the_end)) then return drop_reply('invalid-transition', shard, drop_key) end
-- The caller fills in what its request leaves out from what it read; another change since then must not be undone.
if ARGV[7] ~= drop[2] .. '/' .. drop[3] .. '/' .. drop[4] then return drop_reply('stale', shard, drop_key) end
if ends_ms ~= '' and (tonumber(ends_ms) <= tonumber(starts_ms) or tonumber(ends_ms) <= shard.ms) then
  return drop_reply('invalid-window', shard, drop_key)
end

local reply = change_drop(shard, log_key, unsettled_key, timers_key, drop_key, 'amended', ARGV[3],
  {'starts_ms', starts_ms, 'ends_ms', ends_ms, 'limit_per_user', limit})
if reply[1] == 'changed' then set_timers(timers_key, drop_key, scheduled and starts_ms or nil, ends_ms) end
return reply
