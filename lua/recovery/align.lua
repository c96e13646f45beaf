-- Notes that what this Redis holds is a prefix of the history that the recovery's epoch builds on.
--
-- KEYS 1: meta
-- ARGV epoch, token, number
-- RETURNS aligned, superseded
-- LOGS nothing
--@include lib/guard
local refusal = guard(KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]))
if refusal then return refusal end
redis.call('HSET', KEYS[1], 'line', ARGV[1])
return {'aligned'}
