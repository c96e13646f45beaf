-- Applies whole entries that the archive holds and Redis lost, and moves the log's last id and number with them.
--
-- KEYS 4 + 2 per drop: meta, log, timers, drops, then each drop's hash and users
-- ARGV epoch, token, number expected, number after, last_ms after, last_sequence after, then the changes, each a word, the
--   index of its drop and:
--   create: sku, starts_ms, ends_ms, limit_per_user, price_minor, currency, cancellable_for_s, cancellations_per_user, units,
--     durability, stripes, hold_ms
--   grant: digest of the user, record, units
--   withdraw: digest of the user, position (8 bytes), index, number of the new state
--   restock: key (hex), units
--   window: starts_ms, ends_ms, limit_per_user
--   state: the new state, and when (ms) if the drop is over with it
--   activated: nothing
--   send: shard, transfer, units, number of the entry
--   receive: shard, transfer, units, number of the entry
--   purge: state, starts_ms, ends_ms, limit_per_user, total, sold, sent, received
--   started: nothing
--   released: nothing
--   version: version
-- RETURNS applied, superseded, malformed
--   malformed: what is wrong; nothing was written
-- LOGS nothing
--@include lib/guard
--@include lib/create_drop
--@include lib/set_timers
--@include lib/has_sentinel
--@include lib/clear_window_timers
--@include lib/set_purge_timer
--@include lib/bury_drop
--@include lib/drop_id
--@include lib/give_back
--@include lib/none_held
local timers_key, drops_key = KEYS[3], KEYS[4]
local byte, sub = string.byte, string.sub
local refusal = guard(KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]))
if refusal then return refusal end

if not (has_sentinel(timers_key) and redis.call('SISMEMBER', drops_key, '-') == 1) then
  return {'malformed', 'keys of the shard'}
end
local lengths = {
  create = 12, grant = 3, withdraw = 4, restock = 2, window = 3, state = 2, activated = 0, released = 0, send = 4, receive = 4,
  purge = 8, started = 0, version = 1,
}
local drops = (#KEYS - 4) / 2
local present, created = {}, {}
for d = 1, drops do
  -- HEXISTS also fails, before anything is written, on a key of another type.
  present[d] = redis.call('HEXISTS', KEYS[3 + 2 * d], 'state') + redis.call('HEXISTS', KEYS[4 + 2 * d], '-')
  if present[d] == 1 then return {'malformed', 'half of ' .. KEYS[3 + 2 * d]} end
end
local a = 7
while a <= #ARGV do
  local length, d = lengths[ARGV[a]], tonumber(ARGV[a + 1])
  if not length or not d or d < 1 or d > drops or a + 1 + length > #ARGV then return {'malformed', 'changes'} end
  if ARGV[a] == 'create' then created[d] = true end
  if present[d] == 0 and not created[d] then return {'malformed', 'no ' .. KEYS[3 + 2 * d]} end
  a = a + 2 + length
end

local apply = {}
function apply.released(drop_key)
  redis.call('HSET', drop_key, unpack(none_held(drop_key, {})))
end
-- Held units that were sold, or sent, were released by an entry that fell into a hole.
local function release_for(drop_key, units)
  if tonumber(redis.call('HGET', drop_key, 'available')) < units then apply.released(drop_key) end
end
function apply.create(drop_key, users_key, at)
  if redis.call('EXISTS', drop_key) == 0 then
    create_drop(timers_key, drops_key, drop_key, users_key, {unpack(ARGV, at, at + 11)}, 0)
  end
end
function apply.grant(drop_key, users_key, at)
  local user, units = ARGV[at], tonumber(ARGV[at + 2])
  redis.call('HSET', users_key, user, (redis.call('HGET', users_key, user) or '') .. ARGV[at + 1])
  release_for(drop_key, units)
  redis.call('HINCRBY', drop_key, 'available', -units)
  redis.call('HINCRBY', drop_key, 'sold', units)
end
function apply.withdraw(drop_key, users_key, at)
  local user, position, index, state = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local record = redis.call('HGET', users_key, user) or ''
  for r = 1, #record, 28 do
    local high, low = byte(record, r + 26, r + 27)
    if high < 4 and sub(record, r, r + 7) == position and high * 256 + low == index then
      local units = byte(record, r + 24) * 256 + byte(record, r + 25)
      redis.call('HSET', users_key, user, sub(record, 1, r + 25) .. string.char(high + 4 * state, low) .. sub(record, r + 28))
      -- What is held may be released at once: for as long after the adoption nothing is granted anyway.
      give_back(timers_key, drop_key, units, 0)
      redis.call('HINCRBY', drop_key, 'sold', -units)
    end
  end
end
function apply.restock(drop_key, _, at)
  local units = tonumber(ARGV[at + 1])
  redis.call('HSET', drop_key, 'restock:' .. ARGV[at], units)
  redis.call('HINCRBY', drop_key, 'restocks', 1)
  redis.call('HINCRBY', drop_key, 'total', units)
  give_back(timers_key, drop_key, units, 0)
end
-- The other stripes may not know yet what became of this one.
local function spread(drop_key)
  if (redis.call('HGET', drop_key, 'stripes') or '') ~= '' then
    redis.call('ZADD', timers_key, 0, 'spread:' .. drop_id(drop_key))
  end
end
function apply.activated(drop_key)
  if redis.call('HGET', drop_key, 'state') == 'opening' then redis.call('HSET', drop_key, 'state', 'open') end
  redis.call('ZREM', timers_key, 'activate:' .. drop_id(drop_key))
end
function apply.send(drop_key, _, at)
  local units = tonumber(ARGV[at + 2])
  release_for(drop_key, units)
  redis.call('HSET', drop_key, 'out:' .. ARGV[at], table.concat(ARGV, '/', at + 1, at + 3))
  redis.call('HINCRBY', drop_key, 'sent', units)
  redis.call('HINCRBY', drop_key, 'total', -units)
  redis.call('HINCRBY', drop_key, 'available', -units)
  redis.call('ZADD', timers_key, 0, 'transfer:' .. drop_id(drop_key))
end
function apply.receive(drop_key, _, at)
  local units = tonumber(ARGV[at + 2])
  redis.call('HSET', drop_key, 'in:' .. ARGV[at], ARGV[at + 1] .. '/' .. ARGV[at + 3])
  redis.call('HINCRBY', drop_key, 'received', units)
  redis.call('HINCRBY', drop_key, 'total', units)
  redis.call('HINCRBY', drop_key, 'available', units)
end
function apply.window(drop_key, _, at)
  redis.call('HSET', drop_key, 'starts_ms', ARGV[at], 'ends_ms', ARGV[at + 1], 'limit_per_user', ARGV[at + 2])
  local pending = redis.call('ZSCORE', timers_key, 'start:' .. drop_id(drop_key))
  set_timers(timers_key, drop_key, pending and ARGV[at] or nil, ARGV[at + 1])
  spread(drop_key)
end
function apply.state(drop_key, _, at)
  redis.call('HSET', drop_key, 'state', ARGV[at])
  spread(drop_key)
  if ARGV[at] == 'ended' or ARGV[at] == 'cancelled' then
    redis.call('HSET', drop_key, 'over_ms', ARGV[at + 1])
    apply.released(drop_key)
    clear_window_timers(timers_key, drop_key)
    set_purge_timer(timers_key, drop_key, ARGV[at + 1])
  end
  if ARGV[at] == 'cancelled' then redis.call('ZADD', timers_key, 0, 'withdraw:' .. drop_id(drop_key)) end
end
function apply.purge(drop_key, users_key, at)
  bury_drop(timers_key, drop_key, users_key, {unpack(ARGV, at, at + 7)})
end
function apply.started(drop_key)
  redis.call('ZREM', timers_key, 'start:' .. drop_id(drop_key))
end
function apply.version(drop_key, _, at)
  redis.call('HSET', drop_key, 'version', ARGV[at])
end

-- The first write, and the one that can be refused: by a log that is missing, of another type, or further on than that.
if ARGV[5] ~= '0' then redis.call('XSETID', KEYS[2], ARGV[5] .. '-' .. ARGV[6]) end
a = 7
while a <= #ARGV do
  local d = tonumber(ARGV[a + 1])
  apply[ARGV[a]](KEYS[3 + 2 * d], KEYS[4 + 2 * d], a + 2)
  a = a + 2 + lengths[ARGV[a]]
end
redis.call('HSET', KEYS[1], 'number', ARGV[4], 'last_ms', ARGV[5], 'last_sequence', ARGV[6])
return {'applied'}
