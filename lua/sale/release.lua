-- Makes the units that came back to a sold-out drop available, once they have been held for long enough.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms
-- RETURNS changed, unchanged, shard-recovering, past-deadline
--   changed, unchanged: token, epoch, clock, fields of the drop
-- LOGS released
--@include lib/enter
--@include lib/release_held
--@include lib/drop_reply
--@include lib/drop_id
--@include lib/is_whole
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'held', 'release_ms')
if not (drop[1] and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
local timer = 'release:' .. drop_id(drop_key)
if tonumber(drop[2]) == 0 then
  -- An order came before the timer, or the drop is over.
  redis.call('ZREM', timers_key, timer)
  return drop_reply('unchanged', shard, drop_key)
end
if shard.ms < tonumber(drop[3] or 0) then return drop_reply('unchanged', shard, drop_key) end

if not release_held(shard, log_key, unsettled_key, drop_key) then return {'shard-recovering'} end
redis.call('ZREM', timers_key, timer)
return drop_reply('changed', shard, drop_key)
