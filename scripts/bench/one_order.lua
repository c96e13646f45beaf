-- One order by one script call: what a service without group commit would run, to compare what an order costs Redis. It
-- keeps the same promises as lua/sale/grant.lua (fence, one clock, deadline, window, limit, replay, bound and number of the
-- log, version, unsettled drops) and writes the same keys, for one order of one drop.
--
-- KEYS 5: meta, log, unsettled, drop, users
-- ARGV deadline_ms, bound_orders, bound_bytes, request (user 16, key 8, fingerprint 4, units 2), data
local meta = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'last_ms', 'last_sequence', 'number', 'floor',
  'appended_orders', 'acknowledged_orders', 'appended_bytes', 'acknowledged_bytes')
local info = redis.call('INFO', 'replication')
if not string.find(info, 'role:master', 1, true) or not string.find(info, 'master_replid:' .. meta[1] .. '\r', 1, true) then
  return {'shard-recovering'}
end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if math.max(now_ms, tonumber(meta[6])) >= tonumber(ARGV[1]) then return {'past-deadline'} end
if redis.call('EXISTS', KEYS[2]) == 0 or not redis.call('ZSCORE', KEYS[3], '-') then return {'shard-recovering'} end

local ms, sequence = now_ms, 0
if now_ms <= tonumber(meta[3]) then
  ms, sequence = tonumber(meta[3]), tonumber(meta[4]) + 1
  if sequence > 65535 then ms, sequence = ms + 1, 0 end
end

local request, data = ARGV[4], ARGV[5]
local user, key, units = string.sub(request, 1, 16), string.sub(request, 17, 24), struct.unpack('>I2', request, 29)
local drop = redis.call('HMGET', KEYS[4], 'state', 'starts_ms', 'ends_ms', 'limit_per_user', 'available', 'sold', 'purged')
local known = redis.call('HMGET', KEYS[5], '-', user)
if not drop[1] or not known[1] then return {'missing'} end
if drop[7] then return {'purged'} end

local record, owned = known[2] or '', 0
for r = 1, #record, 28 do
  if string.sub(record, r + 12, r + 19) == key then return {'replayed', string.sub(record, r, r + 27)} end
  if string.byte(record, r + 26) < 4 then owned = owned + struct.unpack('>I2', record, r + 24) end
end
if drop[1] ~= 'open' or ms < tonumber(drop[2]) or (drop[3] ~= '' and ms >= tonumber(drop[3])) then return {'phase'} end
if owned + units > tonumber(drop[4]) then return {'limit', owned} end
local available = tonumber(drop[5])
if available < units then return {'sold-out', available} end
if tonumber(meta[7]) - tonumber(meta[8]) >= tonumber(ARGV[2])
  or tonumber(meta[9]) - tonumber(meta[10]) + #data > tonumber(ARGV[3]) then
  return {'archive-behind'}
end

local epoch, number = tonumber(meta[2]), tonumber(meta[5]) + 1
redis.call('XADD', KEYS[2], 'NOMKSTREAM', string.format('%.0f-%d', ms, sequence), 'epoch', epoch, 'number', number,
  'kind', 'granted', 'data', data, 'picks', '')
redis.call('HSET', KEYS[1], 'last_ms', ms, 'last_sequence', sequence, 'number', number,
  'appended_orders', tonumber(meta[7]) + 1, 'appended_bytes', tonumber(meta[9]) + #data)
redis.call('HSET', KEYS[5], user, record .. struct.pack('>I6I2I4', ms, sequence, epoch) .. string.sub(request, 17, 30) ..
  '\0\0')
redis.call('HSET', KEYS[4], 'version', string.format('%.0f', epoch * 4294967296 + number), 'available', available - units,
  'sold', tonumber(drop[6]) + units)
redis.call('ZADD', KEYS[3], 'GT', number, 'bench')
return {'granted', meta[1], epoch, ms, sequence}
