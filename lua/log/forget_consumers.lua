-- Forgets consumers of processes that are gone. One with pending entries stays: forgetting it would lose them.
--
-- KEYS 2: meta, log
-- ARGV idle time in ms
-- RETURNS forgotten, shard-recovering
--   forgotten: how many
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_log
local shard = open_shard(KEYS[1])
if not shard or not has_log(KEYS[2]) then return {'shard-recovering'} end
local forgotten = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], 'persister')) do
  local fields = {}
  for f = 1, #consumer, 2 do fields[consumer[f]] = consumer[f + 1] end
  if fields['pending'] == 0 and fields['idle'] >= tonumber(ARGV[1]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], 'persister', fields['name'])
    forgotten = forgotten + 1
  end
end
return {'forgotten', forgotten}
