-- A cut through a shard: some of its drops, and the last entry that made them what they are.
--
-- KEYS 2 + 1 per drop: meta, log, then each drop's hash
-- RETURNS read, shard-recovering
--   read: epoch, clock, number of the last entry, number up to which every entry is acknowledged, then the fields of each
--   drop, or an empty list where the shard has no such drop
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_log
--@include lib/read_drop
--@include lib/settled_number
local shard = open_shard(KEYS[1])
if not shard or not has_log(KEYS[2]) then return {'shard-recovering'} end
local reply = {'read', shard.epoch, math.max(shard.time_ms, shard.last_ms), shard.number, (settled_number(shard, KEYS[2]))}
for d = 3, #KEYS do reply[d + 3] = read_drop(KEYS[d]) or {} end
return reply
