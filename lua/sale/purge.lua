-- Purges a drop that is over, archived, and whose orders its shoppers can no longer cancel: a tombstone stays.
--
-- KEYS 6: meta, log, unsettled, timers, drop, users
-- ARGV deadline_ms, floor_ms, data, figures that data was made for, how long the drop is kept once it is over (ms), when its
--   timer looks again if something stands in the way (ms from now; 0 leaves the timer alone)
-- RETURNS changed, unchanged, not-over, orders-stand, too-early, unsettled, stale, shard-recovering, past-deadline
--   changed, unchanged: token, epoch, clock, fields of the drop
--   too-early: token, when it is not too early any more, in ms
--   not-over, orders-stand, unsettled, stale: token
-- LOGS purged
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/drop_reply
--@include lib/drop_id
--@include lib/is_whole
--@include lib/bury_drop
local log_key, unsettled_key, timers_key, drop_key, users_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local timer, keep_ms, pause_ms = 'purge:' .. drop_id(drop_key), tonumber(ARGV[5]), tonumber(ARGV[6])

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'starts_ms', 'ends_ms', 'limit_per_user', 'total', 'sold', 'sent',
  'received', 'held', 'cancellable_for_s', 'over_ms', 'purged')
-- A drop that an earlier version opened says nothing of transfers.
drop[7], drop[8] = drop[7] or '0', drop[8] or '0'
local has_users = redis.call('HEXISTS', users_key, '-') == 1
local state, sold = drop[1], tonumber(drop[6] or 0)
if not (state and has_users and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
if drop[12] then
  redis.call('ZREM', timers_key, timer)
  return drop_reply('unchanged', shard, drop_key)
end
if state ~= 'ended' and state ~= 'cancelled' then
  -- Its timer is set when it is over.
  redis.call('ZREM', timers_key, timer)
  return {'not-over', shard.token}
end

local wait_ms = shard.ms + pause_ms
if tonumber(drop[9]) > 0 or (state == 'cancelled' and sold > 0) then
  if pause_ms > 0 then redis.call('ZADD', timers_key, wait_ms, timer) end
  return {'orders-stand', shard.token}
end
-- The last order was placed before the drop was over. Where no order stands there is none to cancel.
local cancellable_ms = sold > 0 and tonumber(drop[10]) * 1000 or 0
local due_ms = tonumber(drop[11]) + math.max(cancellable_ms, keep_ms)
if shard.ms < due_ms then
  if pause_ms > 0 then redis.call('ZADD', timers_key, due_ms, timer) end
  return {'too-early', shard.token, due_ms}
end
-- A drop is unsettled as long as the archive lacks any of its facts, for whatever reason, or knows of units that have not
-- arrived in another stripe.
local id = drop_id(drop_key)
if redis.call('ZSCORE', unsettled_key, id) or redis.call('ZSCORE', timers_key, 'transfer:' .. id) then
  if pause_ms > 0 then redis.call('ZADD', timers_key, wait_ms, timer) end
  return {'unsettled', shard.token}
end
if ARGV[4] ~= table.concat(drop, '/', 1, 8) then return {'stale', shard.token} end

if not append_entry(shard, log_key, 'purged', ARGV[3], '', 0) then return {'shard-recovering'} end
bury_drop(timers_key, drop_key, users_key, {unpack(drop, 1, 8)})
touch_drop(shard, unsettled_key, drop_key, {})
announce(shard, drop_key)
return drop_reply('changed', shard, drop_key)
