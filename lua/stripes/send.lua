-- Takes units out of a stripe, for another one: they stay in its outbox, by number, until that one says that it has them. The
-- last transfer between the two must have arrived and be archived; so the outbox holds one for each other stripe.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms, data, shard of the other stripe, transfer, units
-- RETURNS sent, already, stale, shard-recovering, past-deadline
--   sent, already, stale: token
--   stale: there are fewer units, another transfer was sent meanwhile, or the drop does not sell
-- LOGS sent
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/drop_id
--@include lib/is_over
--@include lib/is_whole
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local outbox, transfer, units = 'out:' .. ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'ends_ms', 'total', 'available', 'sent', outbox)
local state = drop[1]
if not (state and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
local last, sent = string.match(drop[6] or '0/0/', '^(%d+)/(%d+)/')
if tonumber(last) == transfer and tonumber(sent) == units then return {'already', shard.token} end
local sells = (state == 'open' or state == 'paused') and not is_over(drop[2], shard.ms)
if not sells or tonumber(last) ~= transfer - 1 or tonumber(drop[4]) < units then return {'stale', shard.token} end

if not append_entry(shard, log_key, 'sent', ARGV[3], '', 0) then return {'shard-recovering'} end
touch_drop(shard, unsettled_key, drop_key, {'total', tonumber(drop[3]) - units, 'available', tonumber(drop[4]) - units,
  'sent', tonumber(drop[5]) + units, outbox, string.format('%.0f/%.0f/%.0f', transfer, units, shard.number)})
-- Should the process die that moves them, a worker does.
redis.call('ZADD', timers_key, shard.time_ms + 1000, 'transfer:' .. drop_id(drop_key))
return {'sent', shard.token}
