-- Decides a group of orders, in order: replay, phase and window, price, limit, stock.
--
-- KEYS 3 + 2 per drop: meta, log, unsettled, then each drop's hash and users
-- ARGV deadline_ms, floor_ms, bound_orders, bound_bytes, requests, data, then traces if an order is traced
--   requests: how many orders (2); of each the digest of the user (16); of each what ends its record if it is granted: digest of
--   user and key (8), fingerprint (4), units (2), index in the group (2); and the terms of each, or once if they are the same for
--   all: units (2), index of the drop (1), 1 if the price is not what the client expects, 2 if another order of the group is of the
--   same user and drop, or their sum (1)
--   data: the group as the log keeps it, opaque here
--   traces: 26 bytes a traced order: its index (2), its trace context (24)
-- RETURNS decided, shard-recovering, past-deadline
--   decided: token, epoch, ms and sequence of the entry, results, then state, starts_ms, ends_ms and limit of each drop
--   results, one after another: g granted, r and 28 bytes of record: replayed, k key reused, p phase, c price changed,
--   l and 4 bytes owned: limit, s sold out, i and 4 bytes available: insufficient, b archive behind, u drop purged, x drop missing
-- LOGS granted, closed, released
--@include lib/enter
--@include lib/is_over
--@include lib/is_whole
--@include lib/read_records
local log_key, unsettled_key = KEYS[2], KEYS[3]
local requests, data = ARGV[5], ARGV[6]
local byte, sub = string.byte, string.sub

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
if not is_whole(log_key, unsettled_key) then return {'shard-recovering'} end

-- What all orders have is cut by one call each: a call costs as much as ten steps of the script.
local drops, count = (#KEYS - 3) / 2, struct.unpack('>I2', requests)
local cut, endings_at = string.rep('c16', count), 3 + 16 * count
local users, terms = {struct.unpack(cut, requests, 3)}, {byte(requests, 3 + 32 * count, -1)}
local mixed = #terms > 4
local users_keys = {}
for d = 1, drops do users_keys[d] = KEYS[3 + 2 * d] end
local records, has_users = read_records(users_keys, users, terms, count)

-- What is known of each drop.
local sale = {}
for d = 1, drops do
  local drop_key = KEYS[2 + 2 * d]
  local fields = redis.call('HMGET', drop_key, 'state', 'starts_ms', 'ends_ms', 'limit_per_user', 'available', 'sold',
    'purged', 'held', 'hold_ms')
  -- A process may still refuse by what it learned before this server was adopted. Until it has forgotten, the fence stays down
  -- for the whole call: its caller then knows that an earlier sending may have granted.
  if shard.epoch > 1 then
    local adopted_for_ms = shard.time_ms - shard.adopted_ms
    if adopted_for_ms >= 0 and adopted_for_ms < tonumber(fields[9] or 0) then return {'shard-recovering'} end
  end
  local missing = not (fields[1] and has_users[d])
  sale[d] = {
    drop_key = drop_key, users_key = users_keys[d], missing = missing,
    -- Whether an order of a purged drop was granted before is for the archive to say.
    verdict = missing and 'x' or fields[7] and 'u',
    state = fields[1] or '', starts_ms = fields[2] or '0', ends_ms = fields[3] or '', limit = tonumber(fields[4] or 0),
    available = tonumber(fields[5] or 0), sold = tonumber(fields[6] or 0), held = tonumber(fields[8] or 0),
    overdue = false, sells = false, was_available = 0,
    -- What the users of this group have once it is decided, and how many places of the list are taken.
    latest = {}, writes = {}, size = 0,
  }
end

-- Held units that are due are released first: a step of its own, whole whatever becomes of the orders.
for d = 1, drops do
  local drop = sale[d]
  local open = not drop.verdict and drop.state == 'open' and not is_over(drop.ends_ms, shard.ms)
  if open and drop.held > 0 and shard.ms >= tonumber(redis.call('HGET', drop.drop_key, 'release_ms') or 0) then
    --@include lib/release_held
    if not release_held(shard, log_key, unsettled_key, drop.drop_key) then return {'shard-recovering'} end
    drop.available = drop.available + drop.held
  end
end
local stock = false
for d = 1, drops do
  local drop = sale[d]
  drop.overdue = not drop.missing and (drop.state == 'open' or drop.state == 'paused') and is_over(drop.ends_ms, shard.ms)
  if drop.overdue then drop.state = 'ended' end
  drop.sells = drop.state == 'open' and shard.ms >= tonumber(drop.starts_ms)
  drop.was_available = drop.available
  stock = stock or (drop.sells and drop.available > 0)
end

-- The log's bound: what is appended and not acknowledged.
local room = 0
if stock and shard.appended_bytes - shard.acknowledged_bytes + #data <= tonumber(ARGV[4]) then
  room = ARGV[3] - (shard.appended_orders - shard.acknowledged_orders)
end

local place = struct.pack('>I6I2I4', shard.ms, shard.sequence, shard.epoch)
local endings = stock and {struct.unpack(cut, requests, endings_at)}
local results, granted = {}, 0

-- The terms of an order and what is known of its drop stay in place until they differ: mostly they are the same throughout.
local units, flags, drop = terms[1] * 256 + terms[2], terms[4], sale[terms[3] + 1]
local verdict, sells, limit, available, writes, size =
  drop.verdict, drop.sells, drop.limit, drop.available, drop.writes, drop.size
for index = 1, count do
  if mixed then
    local at = 4 * index
    units, flags = terms[at - 3] * 256 + terms[at - 2], terms[at]
    local other = sale[terms[at - 1] + 1]
    if other ~= drop then
      drop.available, drop.size, drop = available, size, other
      verdict, sells, limit, available, writes, size =
        drop.verdict, drop.sells, drop.limit, drop.available, drop.writes, drop.size
    end
  end
  local record, owned, result, found, at = records[index], 0, 'g'
  if flags >= 2 then record = drop.latest[users[index]] or record end
  if record then
    -- One pass over the user's record says what was granted under this key and how much the user owns.
    at = endings_at + 16 * index - 16
    local key = sub(requests, at, at + 7)
    for r = 1, #record, 28 do
      if sub(record, r + 12, r + 19) == key then found = r end
      if byte(record, r + 26) < 4 then owned = owned + byte(record, r + 24) * 256 + byte(record, r + 25) end
    end
  end
  if verdict then
    result = verdict
  elseif found then
    if sub(record, found + 20, found + 23) == sub(requests, at + 8, at + 11) then
      result = 'r' .. sub(record, found, found + 27)
    else
      result = 'k'
    end
  elseif not sells then
    result = 'p'
  elseif flags % 2 == 1 then
    result = 'c'
  elseif owned + units > limit then
    result = 'l' .. struct.pack('>I4', owned)
  elseif available <= 0 then
    result = 's'
  elseif available < units then
    result = 'i' .. struct.pack('>I4', available)
  elseif granted >= room then
    result = 'b'
  else
    granted, available, size = granted + 1, available - units, size + 2
    record = record and record .. place .. endings[index] or place .. endings[index]
    -- Who bought twice is written twice, the longer record last.
    writes[size - 1], writes[size] = users[index], record
    if flags >= 2 then drop.latest[users[index]] = record end
  end
  results[index] = result
end
drop.available, drop.size = available, size

local decided = {'decided', shard.token, shard.epoch, shard.ms, shard.sequence, table.concat(results)}
for d = 1, drops do
  local known, last = sale[d], 2 + 4 * d
  decided[last + 1], decided[last + 2] = known.state, known.starts_ms
  decided[last + 3], decided[last + 4] = known.ends_ms, known.limit
end

if granted > 0 then
  --@include lib/append_entry
  --@include lib/touch_drop
  local traces, picks = nil, ''
  if ARGV[7] then
    --@include lib/granted_traces
    traces = granted_traces(ARGV[7], results)
  end
  if granted < count then
    --@include lib/granted_indexes
    picks = granted_indexes(results)
  end
  if not append_entry(shard, log_key, 'granted', data, picks, granted, traces) then return {'shard-recovering'} end
  for d = 1, drops do
    local drop = sale[d]
    if drop.size > 0 then
      redis.call('HSET', drop.users_key, unpack(drop.writes, 1, drop.size))
      local sold = drop.sold + drop.was_available - drop.available
      touch_drop(shard, unsettled_key, drop.drop_key, {'available', drop.available, 'sold', sold})
      if drop.available == 0 then
        --@include lib/announce
        announce(shard, drop.drop_key)
      end
    end
  end
end
for d = 1, drops do
  if sale[d].overdue then
    --@include lib/close_by_clock
    if not close_by_clock(shard, log_key, unsettled_key, sale[d].drop_key) then return {'shard-recovering'} end
  end
end
return decided
