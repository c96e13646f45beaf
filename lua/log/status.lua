-- How long the log is and how far it has been archived.
--
-- KEYS 2: meta, log
-- RETURNS status, shard-recovering
--   status: epoch, clock, last entry's number, entries, pending entries, ms of the oldest entry ('' if none), orders and bytes
--   appended and not acknowledged
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_log
local shard = open_shard(KEYS[1])
if not shard or not has_log(KEYS[2]) then return {'shard-recovering'} end
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
return {'status', shard.epoch, math.max(shard.time_ms, shard.last_ms), shard.number, redis.call('XLEN', KEYS[2]),
  redis.call('XPENDING', KEYS[2], 'persister')[1], oldest and string.match(oldest[1], '%d+') or '',
  shard.appended_orders - shard.acknowledged_orders, shard.appended_bytes - shard.acknowledged_bytes}
