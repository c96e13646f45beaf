-- The drops that this shard opened and has lost a key of: then what Redis holds is no prefix of the history.
--
-- KEYS 2 + 2 per drop: meta, drops, then each drop's hash and users
-- ARGV epoch, token
-- RETURNS read, superseded
--   read: for each drop 0 if it was never opened here, 1 if it is whole, 2 if a key is missing
-- LOGS nothing
--@include lib/guard
--@include lib/presence
local refusal = guard(KEYS[1], tonumber(ARGV[1]), ARGV[2])
if refusal then return refusal end
local reply = {'read'}
for d = 3, #KEYS, 2 do reply[#reply + 1] = presence(KEYS[2], KEYS[d], KEYS[d + 1]) end
return reply
