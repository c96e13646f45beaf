-- Reads one stripe of a drop, what it has on its way to other stripes, and how far its log is archived.
--
-- KEYS 3: meta, log, drop
-- ARGV shards of the other stripes
-- RETURNS read, shard-recovering
--   read: epoch, clock, number up to which every entry is archived, time (ms) of the oldest entry that is not ('' if none), fields of
--   the drop (none if it is missing), then for each other stripe: the last transfer to it (transfer/units/number of its entry) and
--   the last from it (transfer/number of its entry), '' if there was none
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_log
--@include lib/read_drop
--@include lib/settled_number
local shard = open_shard(KEYS[1])
if not shard or not has_log(KEYS[2]) then return {'shard-recovering'} end
local settled, oldest_ms = settled_number(shard, KEYS[2])
local reply = {'read', shard.epoch, math.max(shard.time_ms, shard.last_ms), settled, oldest_ms, read_drop(KEYS[3]) or {}}
for _, other in ipairs(ARGV) do
  local moved = redis.call('HMGET', KEYS[3], 'out:' .. other, 'in:' .. other)
  reply[#reply + 1] = moved[1] or ''
  reply[#reply + 1] = moved[2] or ''
end
return reply
