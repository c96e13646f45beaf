-- Reads the records of some users in some drops of one shard.
--
-- KEYS 1 + 2 per drop: meta, then each drop's hash and users; a drop may stand there more than once
-- ARGV digest of the user for each of them
-- RETURNS read, shard-recovering
--   read: token, then for each a list of sku, price_minor, currency, durability, the record ('' if none), stripes and 1 if the drop
--   was purged (else ''), or an empty list without such a drop
-- LOGS nothing
--@include lib/open_shard
local shard = open_shard(KEYS[1])
if not shard then return {'shard-recovering'} end
local reply = {'read', shard.token}
for i = 1, #ARGV do
  local drop = redis.call('HMGET', KEYS[2 * i], 'sku', 'price_minor', 'currency', 'durability', 'purged',
    'stripes')
  local records = redis.call('HMGET', KEYS[2 * i + 1], '-', ARGV[i])
  if drop[1] and records[1] then
    reply[i + 2] = {drop[1], drop[2], drop[3], drop[4] or '', records[2] or '', drop[6] or '', drop[5] or ''}
  elseif drop[1] or records[1] then
    return {'shard-recovering'}
  else
    reply[i + 2] = {}
  end
end
return reply
