-- Cancels one order: its units go back to the drop and to its owner's limit.
--
-- KEYS 6: meta, log, unsettled, timers, drop, users
-- ARGV deadline_ms, floor_ms, digest of the user, position (8 bytes), index, shopper if its owner asks, data
-- RETURNS cancelled, already, closed, purged, unknown, shard-recovering, past-deadline
--   cancelled, closed, purged, unknown: token
--   already: token, the state's number: 1 cancelled, 2 compensated
-- LOGS cancelled
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/is_whole
--@include lib/give_back
local log_key, unsettled_key, timers_key, drop_key, users_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local user, position, index, by, data = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local byte, sub = string.byte, string.sub

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'available', 'sold', 'cancellable_for_s', 'cancellations_per_user',
  'purged')
local records = redis.call('HMGET', users_key, '-', user)
if not (drop[1] and records[1] and is_whole(log_key, unsettled_key, timers_key)) then return {'shard-recovering'} end
if drop[5] then return {'purged', shard.token} end

local record, found, cancelled = records[2] or '', nil, 0
for r = 1, #record, 28 do
  local high, low = byte(record, r + 26, r + 27)
  if sub(record, r, r + 7) == position and high % 4 * 256 + low == index then found = r end
  if math.floor(high / 4) == 1 then cancelled = cancelled + 1 end
end
if not found then return {'unknown', shard.token} end
local high, low = byte(record, found + 26, found + 27)
if high >= 4 then return {'already', shard.token, math.floor(high / 4)} end
if by == 'shopper' then
  local placed_ms = struct.unpack('>I6', record, found)
  if shard.ms >= placed_ms + tonumber(drop[3]) * 1000 or cancelled >= tonumber(drop[4]) then return {'closed', shard.token} end
end

if not append_entry(shard, log_key, 'cancelled', data, '', 0) then return {'shard-recovering'} end
local units = byte(record, found + 24) * 256 + byte(record, found + 25)
redis.call('HSET', users_key, user, sub(record, 1, found + 25) .. string.char(high + 4, low) .. sub(record, found + 28))
touch_drop(shard, unsettled_key, drop_key, {'sold', tonumber(drop[2]) - units})
give_back(timers_key, drop_key, units, shard.last_ms)
if tonumber(drop[1]) == 0 then announce(shard, drop_key) end
return {'cancelled', shard.token}
