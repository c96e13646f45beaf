-- Has a dead letter's fact given to the archive once more: appends it to the log. The letter stays until the archive has
-- the fact, so that it can be read at every moment; until then it can be neither replayed nor compensated.
--
-- KEYS 6: meta, log, unsettled, dead, drop, users
-- ARGV deadline_ms, floor_ms, id of the fact, data, digest of the user ('' unless it is an order), position (8 bytes), index
-- RETURNS replayed, replaying, compensated, gone, unknown, shard-recovering, past-deadline
--   replayed: token
--   replaying: token; it was appended before
--   compensated: token; the order was given back
--   gone: token; there is no such letter
--   unknown: token; the user's record does not know the order
-- LOGS replayed
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/is_whole
--@include lib/has_dead
--@include lib/find_grant
local log_key, unsettled_key, dead_key, drop_key, users_key = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local fact, data, user, position, index = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local state = redis.call('HGET', drop_key, 'state')
if not (state and is_whole(log_key, unsettled_key) and has_dead(dead_key)) then return {'shard-recovering'} end
if user ~= '' then
  local records = redis.call('HMGET', users_key, '-', user)
  if not records[1] then return {'shard-recovering'} end
  local found, granted = find_grant(records[2] or '', position, index)
  if not found then return {'unknown', shard.token} end
  if granted == 2 then return {'compensated', shard.token} end
end
local letter = redis.call('HGET', dead_key, fact)
if not letter then return {'gone', shard.token} end
if string.sub(letter, 1, 1) ~= 'd' then return {'replaying', shard.token} end

if not append_entry(shard, log_key, 'replayed', data, '', 0) then return {'shard-recovering'} end
redis.call('HSET', dead_key, fact, 'r' .. string.sub(letter, 2))
touch_drop(shard, unsettled_key, drop_key, {})
return {'replayed', shard.token}
