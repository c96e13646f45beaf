-- Which of some drops a shard has, fenced or not.
--
-- KEYS 1 + 2 per drop: drops, then each drop's hash and users
-- RETURNS inspected
--   inspected: for each drop 0 if it was never opened here, 1 if it is whole, 2 if a key is missing
-- LOGS nothing
--@include lib/presence
local reply = {'inspected'}
for d = 2, #KEYS, 2 do reply[#reply + 1] = presence(KEYS[1], KEYS[d], KEYS[d + 1]) end
return reply
