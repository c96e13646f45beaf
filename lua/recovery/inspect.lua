-- What this Redis process knows of a shard, fenced or not.
--
-- KEYS 6: meta, log, unsettled, timers, drops, dead
-- RETURNS inspected
--   inspected: token of the server, trusted token, epoch, line, recovering, number, last_ms, last_sequence, deployment, shards,
--   clock, how many of the six keys exist; '' for what is missing
-- LOGS nothing
--@include lib/read_clock
--@include lib/read_token
local meta = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'line', 'recovering', 'number', 'last_ms', 'last_sequence',
  'deployment', 'shards')
local reply = {'inspected', read_token()}
for f = 1, 9 do reply[f + 2] = meta[f] or '' end
reply[12] = read_clock()
reply[13] = redis.call('EXISTS', unpack(KEYS))
-- Earlier versions made a stream of the name that dead letters have: it is as good as missing.
if redis.call('TYPE', KEYS[6])['ok'] == 'stream' then reply[13] = reply[13] - 1 end
return reply
