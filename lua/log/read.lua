-- Reads entries of the log of a trusted shard, forwards or backwards.
--
-- KEYS 2: meta, log
-- ARGV from, to, most entries, forward or backward
-- RETURNS read, shard-recovering
--   read: id and the values of epoch, number, kind, data and picks of each entry
-- LOGS nothing
--@include lib/open_shard
--@include lib/has_log
local shard = open_shard(KEYS[1])
if not shard or not has_log(KEYS[2]) then return {'shard-recovering'} end
local command, first, last = 'XRANGE', ARGV[1], ARGV[2]
if ARGV[4] == 'backward' then command, first, last = 'XREVRANGE', last, first end
local reply = {'read'}
for _, entry in ipairs(redis.call(command, KEYS[2], first, last, 'COUNT', ARGV[3])) do
  local fields = entry[2]
  reply[#reply + 1] = {entry[1], fields[2], fields[4], fields[6], fields[8], fields[10]}
end
return reply
