-- Notes that the orders of a drop that was called off are cancelled: takes its timer away, if no order stands.
--
-- KEYS 3: meta, timers, drop
-- ARGV deadline_ms, floor_ms
-- RETURNS removed, orders-stand, shard-recovering, past-deadline
--   removed, orders-stand: token
-- LOGS nothing
--@include lib/enter
--@include lib/drop_id
--@include lib/has_sentinel
local timers_key, drop_key = KEYS[2], KEYS[3]
local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
local drop = redis.call('HMGET', drop_key, 'sold', 'held')
if not (drop[1] and has_sentinel(timers_key)) then return {'shard-recovering'} end
-- Redis may have been taken back to an older state since the users were gone through.
if tonumber(drop[1]) > 0 or tonumber(drop[2]) > 0 then return {'orders-stand', shard.token} end
redis.call('ZREM', timers_key, 'withdraw:' .. drop_id(drop_key))
return {'removed', shard.token}
