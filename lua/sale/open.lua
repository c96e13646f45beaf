-- Puts a drop, or one stripe of it, into Redis, once.
--
-- KEYS 7: meta, log, unsettled, timers, drops, drop, users
-- ARGV deadline_ms, floor_ms, data, sku, starts_ms, ends_ms, limit_per_user, price_minor, currency, cancellable_for_s,
--   cancellations_per_user, units, durability, stripes, hold_ms
-- RETURNS changed, unchanged, shard-recovering, past-deadline
--   changed, unchanged: token, epoch, clock, fields of the drop
-- LOGS opened
--@include lib/enter
--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/drop_reply
--@include lib/drop_id
--@include lib/is_whole
--@include lib/create_drop
local log_key, unsettled_key, timers_key, drops_key, drop_key, users_key =
  KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]

local shard, refusal = enter(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
if not shard then return refusal end
if not is_whole(log_key, unsettled_key, timers_key) then return {'shard-recovering'} end
local known = redis.call('SISMEMBER', drops_key, '-') == 1 and redis.call('SISMEMBER', drops_key, drop_id(drop_key))
if not known then return {'shard-recovering'} end
local existing = read_drop(drop_key)
local has_users = redis.call('HEXISTS', users_key, '-')
if existing and has_users == 1 and known == 1 then return drop_reply('unchanged', shard, drop_key) end
-- A part of the drop without the others is loss, not a drop that was never opened.
if existing or has_users == 1 or known == 1 then return {'shard-recovering'} end

if not append_entry(shard, log_key, 'opened', ARGV[3], '', 0) then return {'shard-recovering'} end
create_drop(timers_key, drops_key, drop_key, users_key, {unpack(ARGV, 4, 15)}, shard.time_ms + 1000)
touch_drop(shard, unsettled_key, drop_key, {})
announce(shard, drop_key)
return drop_reply('changed', shard, drop_key)
