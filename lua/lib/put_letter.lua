-- Writes a dead letter, or another one in its place. `-` counts the letters, and `drop:` with its id those of a drop. A drop
-- with a letter counts as unsettled, whatever entries of it are archived.
local function put_letter(unsettled_key, dead_key, drop, fact, letter)
  if redis.call('HSET', dead_key, fact, letter) == 1 then
    redis.call('HINCRBY', dead_key, '-', 1)
    redis.call('HINCRBY', dead_key, 'drop:' .. drop, 1)
  end
  redis.call('ZADD', unsettled_key, '+inf', drop)
end
