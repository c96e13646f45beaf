-- Lists, a piece at a time, what the users of a drop hold: for the worker that cancels a drop's orders.
--
-- KEYS 2: meta, users
-- ARGV cursor, about how many users
-- RETURNS read, shard-recovering
--   read: the next cursor ('0' at the end), then digest and record of each user
-- LOGS nothing
--@include lib/open_shard
local shard = open_shard(KEYS[1])
if not shard then return {'shard-recovering'} end
if redis.call('HEXISTS', KEYS[2], '-') == 0 then return {'shard-recovering'} end
local piece = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
local reply = {'read', piece[1]}
for i = 1, #piece[2], 2 do
  if piece[2][i] ~= '-' then
    reply[#reply + 1] = piece[2][i]
    reply[#reply + 1] = piece[2][i + 1]
  end
end
return reply
