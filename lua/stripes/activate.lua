-- Lets a stripe sell: the archive says that all stripes of its drop are there.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms, data
-- RETURNS changed, unchanged, shard-recovering, past-deadline
--   changed, unchanged: token, epoch, clock, fields of the drop
-- LOGS activated
--@include lib/enter
--@include lib/change_drop
--@include lib/drop_reply
--@include lib/drop_id
--@include lib/is_whole
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local state = redis.call('HGET', drop_key, 'state')
if not (state and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
if state ~= 'opening' then
  redis.call('ZREM', timers_key, 'activate:' .. drop_id(drop_key))
  return drop_reply('unchanged', shard, drop_key)
end

local reply = change_drop(shard, log_key, unsettled_key, timers_key, drop_key, 'activated', ARGV[3], {'state', 'open'})
if reply[1] == 'changed' then redis.call('ZREM', timers_key, 'activate:' .. drop_id(drop_key)) end
return reply
