-- Acknowledges entries that the archive holds, and trims the log behind them. Nothing else trims: up to the lowest pending
-- entry, or behind the last delivered one, so no entry is cut off before somebody has archived it.
--
-- KEYS 3: meta, log, unsettled
-- ARGV epoch, then id, orders and bytes of each entry
-- RETURNS acknowledged, shard-recovering
--   acknowledged: how many of the entries were still pending
-- LOGS nothing
--@include lib/open_shard
--@include lib/is_whole
local log_key, unsettled_key = KEYS[2], KEYS[3]

local shard = open_shard(KEYS[1])
if not shard or shard.epoch ~= tonumber(ARGV[1]) then return {'shard-recovering'} end
if not is_whole(log_key, unsettled_key) then return {'shard-recovering'} end

local acknowledged = 0
for a = 2, #ARGV, 3 do
  -- Only the first acknowledgement of an entry counts: another consumer may have archived it as well.
  if redis.call('XACK', log_key, 'persister', ARGV[a]) == 1 then
    acknowledged = acknowledged + 1
    shard.acknowledged_orders = shard.acknowledged_orders + tonumber(ARGV[a + 1])
    shard.acknowledged_bytes = shard.acknowledged_bytes + tonumber(ARGV[a + 2])
  end
end

local pending = redis.call('XPENDING', log_key, 'persister')
local lowest = pending[2]
if pending[1] == 0 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', log_key)) do
    local name, delivered
    for f = 1, #group, 2 do
      if group[f] == 'name' then name = group[f + 1] end
      if group[f] == 'last-delivered-id' then delivered = group[f + 1] end
    end
    if name == 'persister' then
      local ms, sequence = string.match(delivered, '(%d+)-(%d+)')
      lowest = ms .. '-' .. string.format('%d', sequence + 1)
    end
  end
end
redis.call('XTRIM', log_key, 'MINID', '=', lowest)
local left = redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1]
local settled = left and tonumber(left[2][4]) - 1 or shard.number
redis.call('ZREMRANGEBYSCORE', unsettled_key, '-inf', string.format('%.0f', settled))
redis.call('HSET', KEYS[1], 'acknowledged_orders', shard.acknowledged_orders, 'acknowledged_bytes',
  shard.acknowledged_bytes)
return {'acknowledged', acknowledged}
