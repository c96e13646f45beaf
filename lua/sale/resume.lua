-- Lets a paused drop go on.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms, data
-- RETURNS changed, unchanged, invalid-transition, shard-recovering, past-deadline
--   changed, unchanged, invalid-transition: token, epoch, clock, fields of the drop
-- LOGS resumed
--@include lib/enter
--@include lib/change_drop
--@include lib/drop_reply
--@include lib/is_over
--@include lib/is_whole
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'ends_ms')
local state = drop[1]
if not (state and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
if state == 'open' and not is_over(drop[2], shard.ms) then return drop_reply('unchanged', shard, drop_key) end
if not (state == 'paused') or is_over(drop[2], shard.ms) then return drop_reply('invalid-transition', shard, drop_key) end

return change_drop(shard, log_key, unsettled_key, timers_key, drop_key, 'resumed', ARGV[3], {'state', 'open'})
