-- Reads dead letters by the ids of their facts.
--
-- KEYS 2: meta, dead
-- ARGV ids
-- RETURNS read, shard-recovering
--   read: each letter behind its state: d dead, r replaying, c compensated; '' where there is none
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_dead
local shard = open_shard(KEYS[1])
if not shard or not has_dead(KEYS[2]) then return {'shard-recovering'} end
local reply = {'read'}
for i, letter in ipairs(redis.call('HMGET', KEYS[2], unpack(ARGV))) do reply[i + 1] = letter or '' end
return reply
