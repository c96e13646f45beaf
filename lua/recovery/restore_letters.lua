-- Makes dead letters what the archive says: those that are settled go, those that were lost come back.
--
-- KEYS 4: meta, log, unsettled, dead
-- ARGV epoch, token, then of each fact that was refused: its id, its drop, its letter ('' if it is settled), the id of its entry
-- RETURNS restored, superseded, malformed
--   restored: how many came back
--   malformed: what is wrong; nothing was written
-- LOGS nothing
--@include lib/guard
--@include lib/is_whole
--@include lib/has_dead
--@include lib/is_waiting
--@include lib/put_letter
--@include lib/take_letter
local log_key, unsettled_key, dead_key = KEYS[2], KEYS[3], KEYS[4]
local refusal = guard(KEYS[1], tonumber(ARGV[1]), ARGV[2])
if refusal then return refusal end
if not (is_whole(log_key, unsettled_key) and has_dead(dead_key)) then return {'malformed', 'keys of the shard'} end

-- What is in the log still comes to the archive, and is refused again or not.
local letters = {}
for a = 3, #ARGV, 4 do
  local fact, drop, letter = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local known = redis.call('HGET', dead_key, fact)
  if letter == '' or known or not is_waiting(log_key, ARGV[a + 3]) then
    letters[#letters + 1] = {fact, drop, letter ~= '' and (known or 'd' .. letter), not known}
  end
end
local shard = {number = tonumber(redis.call('HGET', KEYS[1], 'number'))}
local restored = 0
for _, letter in ipairs(letters) do
  if letter[3] then
    put_letter(unsettled_key, dead_key, letter[2], letter[1], letter[3])
    if letter[4] then restored = restored + 1 end
  else
    take_letter(shard, unsettled_key, dead_key, letter[2], letter[1])
  end
end
return {'restored', restored}
