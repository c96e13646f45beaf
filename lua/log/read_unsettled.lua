-- The drops with facts that the archive may not hold yet.
--
-- KEYS 2: meta, unsettled
-- RETURNS read, shard-recovering
--   read: the ids of the drops
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_sentinel
local shard = open_shard(KEYS[1])
if not shard or not has_sentinel(KEYS[2]) then return {'shard-recovering'} end
local reply = {'read'}
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if id ~= '-' then reply[#reply + 1] = id end
end
return reply
