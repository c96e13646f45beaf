-- Reads some drops of one shard at one moment.
--
-- KEYS 1 + 1 per drop: meta, then each drop's hash
-- RETURNS read, shard-recovering
--   read: epoch, clock, then the fields of each drop, or an empty list where the shard has no such drop
-- LOGS nothing
--@include lib/open_shard
--@include lib/read_drop
local shard = open_shard(KEYS[1])
if not shard then return {'shard-recovering'} end
local reply = {'read', shard.epoch, math.max(shard.time_ms, shard.last_ms)}
for d = 2, #KEYS do reply[d + 2] = read_drop(KEYS[d]) or {} end
return reply
