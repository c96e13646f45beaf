-- Begins a recovery: fences the shard and lets no older recovery go on. Sets up a shard that was never there.
--
-- KEYS 6: meta, log, unsettled, timers, drops, dead
-- ARGV epoch, token, deployment, shards
-- RETURNS begun, superseded, foreign
--   begun: trusted epoch, line, number, last_ms, last_sequence, 1 if all keys of the shard are there
--   foreign: deployment and number of shards that this Redis belongs to
-- LOGS nothing
--@include lib/read_token
--@include lib/create_shard
--@include lib/create_dead
--@include lib/reset_meta
local epoch, token = tonumber(ARGV[1]), ARGV[2]
local meta = redis.call('HMGET', KEYS[1], 'recovering', 'deployment', 'shards')
if read_token() ~= token or tonumber(meta[1] or 0) > epoch then return {'superseded'} end
if meta[2] and (meta[2] ~= ARGV[3] or meta[3] ~= ARGV[4]) then return {'foreign', meta[2], meta[3]} end

-- Where only `meta` is lost, the log still holds what the archive may lack: the recovery keeps that before it wipes.
local lost = not meta[2] and redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[4], KEYS[5]) > 0
if not meta[2] then
  if lost then
    reset_meta(KEYS[1])
  else
    create_shard(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
  end
  redis.call('HSET', KEYS[1], 'deployment', ARGV[3], 'shards', ARGV[4], 'floor', 0)
end
-- Lost dead letters come back from the archive. Earlier versions made an empty stream of this name.
if redis.call('TYPE', KEYS[6])['ok'] ~= 'hash' then create_dead(KEYS[6]) end
redis.call('HSET', KEYS[1], 'recovering', epoch, 'token', '')
local now = redis.call('HMGET', KEYS[1], 'epoch', 'line', 'number', 'last_ms', 'last_sequence')
local complete = not lost and redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[4], KEYS[5]) == 4
return {'begun', now[1], now[2], now[3], now[4], now[5], complete and 1 or 0}
