-- Acknowledges entries that the archive holds, and trims the log behind them. Nothing else trims: up to the lowest pending
-- entry, or behind the last delivered one, so no entry is cut off before somebody has archived it. Facts that the archive
-- refuses for good become dead letters in the same step, and letters whose facts it took at last go.
--
-- KEYS 4: meta, log, unsettled, dead
-- ARGV epoch, most letters, number of letters here, then of each: id of its entry, id of its fact, drop, letter ('' takes it
--   away); then id, orders and bytes of each entry
-- RETURNS acknowledged, too-many, shard-recovering
--   acknowledged: how many of the entries were still pending
--   too-many: there would be more letters than there may be; nothing was written
-- LOGS nothing
--@include lib/open_shard
--@include lib/is_whole
--@include lib/has_dead
--@include lib/is_pending
--@include lib/last_delivered
--@include lib/put_letter
--@include lib/settled_number
--@include lib/take_letter
local log_key, unsettled_key, dead_key = KEYS[2], KEYS[3], KEYS[4]

local shard = open_shard(KEYS[1])
if not shard or shard.epoch ~= tonumber(ARGV[1]) then return {'shard-recovering'} end
if not (is_whole(log_key, unsettled_key) and has_dead(dead_key)) then return {'shard-recovering'} end

-- Only the first acknowledgement of an entry counts: another consumer may have archived it as well, and what became of its
-- letters since must stay.
local letters, more, a = {}, 0, 4
for _ = 1, tonumber(ARGV[3]) do
  local entry, fact, drop, letter = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local known = redis.call('HGET', dead_key, fact)
  -- An order that was given back is not refused once more.
  local given_back = known and letter ~= '' and string.sub(known, 1, 1) == 'c'
  if is_pending(log_key, entry) and not given_back then
    letters[#letters + 1] = {fact, drop, letter}
    if letter ~= '' and not known then more = more + 1 end
  end
  a = a + 4
end
if more > 0 and tonumber(redis.call('HGET', dead_key, '-')) + more > tonumber(ARGV[2]) then return {'too-many'} end

for _, letter in ipairs(letters) do
  if letter[3] ~= '' then put_letter(unsettled_key, dead_key, letter[2], letter[1], 'd' .. letter[3]) end
end
local acknowledged = 0
for e = a, #ARGV, 3 do
  if redis.call('XACK', log_key, 'persister', ARGV[e]) == 1 then
    acknowledged = acknowledged + 1
    shard.acknowledged_orders = shard.acknowledged_orders + tonumber(ARGV[e + 1])
    shard.acknowledged_bytes = shard.acknowledged_bytes + tonumber(ARGV[e + 2])
  end
end
for _, letter in ipairs(letters) do
  if letter[3] == '' then take_letter(shard, unsettled_key, dead_key, letter[2], letter[1]) end
end

local pending = redis.call('XPENDING', log_key, 'persister')
local lowest = pending[2]
if pending[1] == 0 then
  local ms, sequence = last_delivered(log_key)
  lowest = ms .. '-' .. string.format('%d', sequence + 1)
end
redis.call('XTRIM', log_key, 'MINID', '=', lowest)
redis.call('ZREMRANGEBYSCORE', unsettled_key, '-inf', string.format('%.0f', (settled_number(shard, log_key))))
redis.call('HSET', KEYS[1], 'acknowledged_orders', shard.acknowledged_orders, 'acknowledged_bytes',
  shard.acknowledged_bytes)
return {'acknowledged', acknowledged}
