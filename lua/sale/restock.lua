-- Adds units to a drop, once per key: while it is scheduled, live, sold out or paused.
--
-- KEYS 5: meta, log, unsettled, timers, drop
-- ARGV deadline_ms, floor_ms, data, key (hex), units, most units of a drop, most restocks of a drop
-- RETURNS changed, unchanged, invalid-transition, key-reused, too-many, shard-recovering, past-deadline
--   changed, unchanged, invalid-transition: token, epoch, clock, fields of the drop
--   key-reused, too-many: token
-- LOGS restocked
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/set_spread_timer
--@include lib/drop_reply
--@include lib/is_over
--@include lib/is_whole
--@include lib/give_back
local log_key, unsettled_key, timers_key, drop_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local key, units = 'restock:' .. ARGV[4], tonumber(ARGV[5])

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'state', 'ends_ms', 'total', 'restocks', key)
local state = drop[1]
if not (state and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
if drop[5] then
  if tonumber(drop[5]) ~= units then return {'key-reused', shard.token} end
  return drop_reply('unchanged', shard, drop_key)
end
if not (state == 'open' or state == 'paused') or is_over(drop[2], shard.ms) then
  return drop_reply('invalid-transition', shard, drop_key)
end
local total, restocks = tonumber(drop[3]) + units, tonumber(drop[4]) + 1
if total > tonumber(ARGV[6]) or restocks > tonumber(ARGV[7]) then return {'too-many', shard.token} end

if not append_entry(shard, log_key, 'restocked', ARGV[3], '', 0) then return {'shard-recovering'} end
touch_drop(shard, unsettled_key, drop_key, {'total', total, 'restocks', restocks, key, units})
give_back(timers_key, drop_key, units, shard.last_ms)
set_spread_timer(shard, timers_key, drop_key)
announce(shard, drop_key)
return drop_reply('changed', shard, drop_key)
