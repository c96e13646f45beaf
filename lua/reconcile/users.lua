-- A piece of what the users of a drop hold, and the last entry that made it so.
--
-- KEYS 3: meta, drop, users
-- ARGV cursor, about how many users
-- RETURNS read, purged, shard-recovering
--   read: epoch, number of the last entry, limit per user, the next cursor ('0' at the end), then digest and record of each user
-- LOGS nothing
--@include lib/open_shard
local shard = open_shard(KEYS[1])
if not shard then return {'shard-recovering'} end
local drop = redis.call('HMGET', KEYS[2], 'state', 'limit_per_user', 'purged')
-- Of a purged drop only the tombstone is left.
if drop[3] then return {'purged'} end
if not drop[1] or redis.call('HEXISTS', KEYS[3], '-') == 0 then return {'shard-recovering'} end
local piece = redis.call('HSCAN', KEYS[3], ARGV[1], 'COUNT', ARGV[2])
local reply = {'read', shard.epoch, shard.number, drop[2], piece[1]}
for i = 1, #piece[2], 2 do
  if piece[2][i] ~= '-' then
    reply[#reply + 1] = piece[2][i]
    reply[#reply + 1] = piece[2][i + 1]
  end
end
return reply
