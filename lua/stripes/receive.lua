-- Adds units to a stripe that another one has sent it, once for each transfer, whatever the state of the drop. The other's fact
-- must be archived: then no restart can bring the units back there.
--
-- KEYS 4: meta, log, unsettled, drop
-- ARGV deadline_ms, floor_ms, data, shard of the other stripe, transfer, units
-- RETURNS received, already, gap, shard-recovering, past-deadline
--   received, already: token
--   gap: token; the transfer before it never arrived
-- LOGS received
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/is_whole
local log_key, unsettled_key, drop_key = KEYS[2], KEYS[3], KEYS[4]
local inbox, transfer, units = 'in:' .. ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'total', 'available', 'received', inbox)
if not (drop[1] and is_whole(log_key, unsettled_key)) then return {'shard-recovering'} end
local last = tonumber(string.match(drop[4] or '0/', '^(%d+)/'))
if last >= transfer then return {'already', shard.token} end
if last ~= transfer - 1 then return {'gap', shard.token} end

if not append_entry(shard, log_key, 'received', ARGV[3], '', 0) then return {'shard-recovering'} end
touch_drop(shard, unsettled_key, drop_key, {'total', tonumber(drop[1]) + units, 'available', tonumber(drop[2]) + units,
  'received', tonumber(drop[3]) + units, inbox, string.format('%.0f/%.0f', transfer, shard.number)})
if tonumber(drop[2]) <= 0 then announce(shard, drop_key) end
return {'received', shard.token}
