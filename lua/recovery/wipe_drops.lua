-- Removes some drops of a shard that is rebuilt from nothing.
--
-- KEYS 1 + 2 per drop: meta, then each drop's hash and users
-- ARGV epoch, token
-- RETURNS wiped, superseded
-- LOGS nothing
--@include lib/guard
local refusal = guard(KEYS[1], tonumber(ARGV[1]), ARGV[2])
if refusal then return refusal end
for k = 2, #KEYS do redis.call('UNLINK', KEYS[k]) end
return {'wiped'}
