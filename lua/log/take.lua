-- Gives a consumer entries of the log of a trusted shard: new ones, or those that are pending under its name.
--
-- KEYS 2: meta, log
-- ARGV consumer, from ('>' for new ones), most entries
-- RETURNS taken, shard-recovering
--   taken: token, then the entries, each an id and its fields, none if it no longer exists
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_log
local shard = open_shard(KEYS[1])
if not shard or not has_log(KEYS[2]) then return {'shard-recovering'} end
local streams = redis.call('XREADGROUP', 'GROUP', 'persister', ARGV[1], 'COUNT', ARGV[3], 'STREAMS', KEYS[2], ARGV[2])
return {'taken', shard.token, streams and streams[1][2] or {}}
