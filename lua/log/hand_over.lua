-- Hands the pending entries of a consumer that stops to whoever claims next: they count as idle since ever, so nobody waits
-- for it to come back. Forgets its name once nothing is pending under it.
--
-- KEYS 2: meta, log
-- ARGV consumer, id to begin at, most entries
-- RETURNS handed-over, shard-recovering
--   handed-over: how many, and the last of their ids ('' at the end)
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_log
local log_key, consumer = KEYS[2], ARGV[1]
local shard = open_shard(KEYS[1])
if not shard or not has_log(log_key) then return {'shard-recovering'} end
local pending = redis.call('XPENDING', log_key, 'persister', ARGV[2], '+', ARGV[3], consumer)
if #pending == 0 then
  local left = redis.call('XPENDING', log_key, 'persister', '-', '+', 1, consumer)
  -- Forgetting a consumer forgets what is pending under its name: its entries would never be archived.
  if #left == 0 then redis.call('XGROUP', 'DELCONSUMER', log_key, 'persister', consumer) end
  return {'handed-over', 0, ''}
end
local ids = {}
for i, entry in ipairs(pending) do ids[i] = entry[1] end
local last = ids[#ids]
-- JUSTID leaves the count of deliveries alone: nobody is given them now.
ids[#ids + 1], ids[#ids + 2], ids[#ids + 3] = 'TIME', 0, 'JUSTID'
redis.call('XCLAIM', log_key, 'persister', consumer, 0, unpack(ids))
return {'handed-over', #pending, last}
