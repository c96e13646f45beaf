-- Lists dead letters, a piece at a time.
--
-- KEYS 2: meta, dead
-- ARGV cursor, about how many
-- RETURNS read, shard-recovering
--   read: the next cursor ('0' at the end), then the letters, each behind its state: d dead, r replaying, c compensated
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_dead
local shard = open_shard(KEYS[1])
if not shard or not has_dead(KEYS[2]) then return {'shard-recovering'} end
local piece = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
local reply = {'read', piece[1]}
for i = 1, #piece[2], 2 do
  local field = piece[2][i]
  if field ~= '-' and string.sub(field, 1, 5) ~= 'drop:' then reply[#reply + 1] = piece[2][i + 1] end
end
return reply
