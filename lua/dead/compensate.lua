-- Gives back an order that the archive cannot keep: its units go back to the drop and to its owner's limit. The letter stays
-- until the archive knows, so that the order can be read at every moment.
--
-- KEYS 7: meta, log, unsettled, dead, drop, users, timers
-- ARGV deadline_ms, floor_ms, id of the fact, data, digest of the user, position (8 bytes), index
-- RETURNS compensated, already, replaying, gone, unknown, shard-recovering, past-deadline
--   compensated: token
--   already: token, the state's number: 1 cancelled, 2 compensated
--   replaying: token; it was given to the archive once more, which has not answered yet
--   gone: token; there is no such letter
--   unknown: token; the user's record does not know the order
-- LOGS compensated
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/is_whole
--@include lib/has_dead
--@include lib/find_grant
--@include lib/give_back
local log_key, unsettled_key, dead_key, drop_key, users_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local timers_key = KEYS[7]
local fact, data, user, position, index = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local byte, sub = string.byte, string.sub

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'available', 'sold')
local records = redis.call('HMGET', users_key, '-', user)
if not (drop[1] and records[1] and is_whole(log_key, unsettled_key, timers_key) and has_dead(dead_key)) then
  return {'shard-recovering'}
end
local record = records[2] or ''
local found, granted = find_grant(record, position, index)
if not found then return {'unknown', shard.token} end
if granted > 0 then return {'already', shard.token, granted} end
local letter = redis.call('HGET', dead_key, fact)
if not letter then return {'gone', shard.token} end
if sub(letter, 1, 1) ~= 'd' then return {'replaying', shard.token} end

if not append_entry(shard, log_key, 'compensated', data, '', 0) then return {'shard-recovering'} end
local units = byte(record, found + 24) * 256 + byte(record, found + 25)
local high, low = byte(record, found + 26, found + 27)
redis.call('HSET', users_key, user, sub(record, 1, found + 25) .. string.char(high + 8, low) .. sub(record, found + 28))
redis.call('HSET', dead_key, fact, 'c' .. sub(letter, 2))
touch_drop(shard, unsettled_key, drop_key, {'sold', tonumber(drop[2]) - units})
give_back(timers_key, drop_key, units, shard.last_ms)
if tonumber(drop[1]) == 0 then announce(shard, drop_key) end
return {'compensated', shard.token}
