-- Decides a group of orders, in order: replay, phase and window, price, limit, stock.
--
-- KEYS 3 + 2 per drop: meta, log, unsettled, then each drop's hash and users
-- ARGV deadline_ms, floor_ms, bound_orders, bound_bytes, requests, data, then traces if an order is traced
--   requests: 32 bytes an order: digest of the user (16), of user and key (8), fingerprint (4), units (2), index of the drop (1),
--   1 if the price is not what the client expects (1)
--   data: the group as the log keeps it, opaque here
--   traces: 26 bytes a traced order: its index (2), its trace context (24)
-- RETURNS decided, shard-recovering, past-deadline
--   decided: token, epoch, ms and sequence of the entry, results, then state, starts_ms, ends_ms and limit of each drop
--   results, one after another: g granted, r and 28 bytes of record: replayed, k key reused, p phase, c price changed,
--   l and 4 bytes owned: limit, s sold out, i and 4 bytes available: insufficient, b archive behind, u drop purged, x drop missing
-- LOGS granted, closed, released
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/is_over
--@include lib/is_whole
--@include lib/close_by_clock
--@include lib/granted_traces
--@include lib/release_held
local log_key, unsettled_key = KEYS[2], KEYS[3]
local requests, data = ARGV[5], ARGV[6]
local byte, char, sub = string.byte, string.char, string.sub

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
if not is_whole(log_key, unsettled_key) then return {'shard-recovering'} end

-- Which users are asked about, by drop. What is cut out of the requests once is kept.
local drops, count = (#KEYS - 3) / 2, #requests / 32
local asked, sizes, users = {}, {}, {}
for d = 1, drops do
  asked[d] = {'-'}
  sizes[d] = 1
end
for index = 1, count do
  local at = index * 32
  local d = drops == 1 and 1 or byte(requests, at - 1) + 1
  local user, size = sub(requests, at - 31, at - 16), sizes[d] + 1
  users[index], asked[d][size], sizes[d] = user, user, size
end

-- What is known of each drop, and of each of those users in it.
local sale = {}
for d = 1, drops do
  local drop_key, users_key = KEYS[2 + 2 * d], KEYS[3 + 2 * d]
  local fields = redis.call('HMGET', drop_key, 'state', 'starts_ms', 'ends_ms', 'limit_per_user', 'available', 'sold',
    'purged', 'held', 'release_ms', 'hold_ms')
  local of_drop, known = asked[d], {}
  local records = redis.call('HMGET', users_key, unpack(of_drop))
  for i = 2, sizes[d] do known[of_drop[i]] = records[i] or '' end
  local missing = not (fields[1] and records[1])
  -- A process may still refuse by what it learned before this server was adopted. Until it has forgotten, the fence stays down
  -- for the whole call: its caller then knows that an earlier sending may have granted.
  local adopted_for_ms = shard.time_ms - shard.adopted_ms
  if shard.epoch > 1 and adopted_for_ms >= 0 and adopted_for_ms < tonumber(fields[10] or 0) then
    return {'shard-recovering'}
  end
  sale[d] = {
    drop_key = drop_key, users_key = users_key, missing = missing, purged = fields[7], records = known, buyers = {},
    state = fields[1] or '', starts_ms = fields[2] or '0', ends_ms = fields[3] or '', limit = tonumber(fields[4] or 0),
    available = tonumber(fields[5] or 0), sold = tonumber(fields[6] or 0), granted = 0,
    held = tonumber(fields[8] or 0), release_ms = tonumber(fields[9] or 0),
  }
end

-- Held units that are due are released first: a step of its own, whole whatever becomes of the orders.
for d = 1, drops do
  local drop = sale[d]
  local open = not (drop.missing or drop.purged) and drop.state == 'open' and not is_over(drop.ends_ms, shard.ms)
  if open and drop.held > 0 and shard.ms >= drop.release_ms then
    if not release_held(shard, log_key, unsettled_key, drop.drop_key) then return {'shard-recovering'} end
    drop.available = drop.available + drop.held
  end
end
for d = 1, drops do
  local drop = sale[d]
  drop.overdue = not drop.missing and (drop.state == 'open' or drop.state == 'paused') and is_over(drop.ends_ms, shard.ms)
  if drop.overdue then drop.state = 'ended' end
  drop.sells = drop.state == 'open' and shard.ms >= tonumber(drop.starts_ms)
end

-- The log's bound: what is appended and not acknowledged.
local room = tonumber(ARGV[3]) - (shard.appended_orders - shard.acknowledged_orders)
if shard.appended_bytes - shard.acknowledged_bytes + #data > tonumber(ARGV[4]) then room = 0 end

local place = struct.pack('>I6I2I4', shard.ms, shard.sequence, shard.epoch)
local results, picks, granted = {}, {}, 0

for index = 1, count do
  local at = index * 32
  local units_high, units_low, d, other_price = byte(requests, at - 3, at)
  local drop, user = sale[d + 1], users[index]
  local result
  if drop.missing then
    result = 'x'
  elseif drop.purged then
    -- Whether it was granted before is for the archive to say.
    result = 'u'
  else
    -- One pass over the user's record says what was granted under this key and how much the user owns.
    local record, owned, found = drop.records[user], 0, nil
    if record ~= '' then
      local key = sub(requests, at - 15, at - 8)
      for r = 1, #record, 28 do
        if sub(record, r + 12, r + 19) == key then found = r end
        if byte(record, r + 26) < 4 then owned = owned + byte(record, r + 24) * 256 + byte(record, r + 25) end
      end
    end
    local units = units_high * 256 + units_low
    if found then
      if sub(record, found + 20, found + 23) == sub(requests, at - 7, at - 4) then
        result = 'r' .. sub(record, found, found + 27)
      else
        result = 'k'
      end
    elseif not drop.sells then
      result = 'p'
    elseif other_price == 1 then
      result = 'c'
    elseif owned + units > drop.limit then
      result = 'l' .. struct.pack('>I4', owned)
    elseif drop.available <= 0 then
      result = 's'
    elseif drop.available < units then
      result = 'i' .. struct.pack('>I4', drop.available)
    elseif granted >= room then
      result = 'b'
    else
      result = 'g'
      granted = granted + 1
      local bought = drop.granted + 1
      drop.granted, drop.buyers[bought] = bought, user
      drop.available = drop.available - units
      drop.sold = drop.sold + units
      local from_zero = index - 1
      local low = from_zero % 256
      local tail = char((from_zero - low) / 256, low)
      picks[granted] = tail
      -- Key, fingerprint and units stand in the record as they do in the request.
      drop.records[user] = record .. place .. sub(requests, at - 15, at - 2) .. tail
    end
  end
  results[index] = result
end

local decided = {'decided', shard.token, shard.epoch, shard.ms, shard.sequence, table.concat(results)}
for d = 1, drops do
  local drop = sale[d]
  for _, field in ipairs({drop.state, drop.starts_ms, drop.ends_ms, drop.limit}) do decided[#decided + 1] = field end
end

if granted > 0 then
  local chosen = granted == count and '' or table.concat(picks)
  local traces = ARGV[7] and granted_traces(ARGV[7], results)
  if not append_entry(shard, log_key, 'granted', data, chosen, granted, traces) then return {'shard-recovering'} end
  for d = 1, drops do
    local drop = sale[d]
    if drop.granted > 0 then
      local writes = {}
      -- Who bought twice is written twice, with the same record.
      for i = 1, drop.granted do
        local user = drop.buyers[i]
        writes[2 * i - 1], writes[2 * i] = user, drop.records[user]
      end
      redis.call('HSET', drop.users_key, unpack(writes))
      touch_drop(shard, unsettled_key, drop.drop_key, {'available', drop.available, 'sold', drop.sold})
      if drop.available == 0 then announce(shard, drop.drop_key) end
    end
  end
end
for d = 1, drops do
  if sale[d].overdue and not close_by_clock(shard, log_key, unsettled_key, sale[d].drop_key) then
    return {'shard-recovering'}
  end
end
return decided
