-- Ends a recovery: trusts this Redis process, above every position that was ever seen, and opens the fence. Calls that were
-- sent before it can no longer take effect.
--
-- KEYS 2: meta, log
-- ARGV epoch, token, number expected, lowest last_ms, lowest last_sequence, longest deadline of a call in ms
-- RETURNS adopted, superseded
-- LOGS nothing
--@include lib/guard
--@include lib/read_clock
local epoch, token = tonumber(ARGV[1]), ARGV[2]
local refusal = guard(KEYS[1], epoch, token, tonumber(ARGV[3]))
if refusal then return refusal end
local meta = redis.call('HMGET', KEYS[1], 'last_ms', 'last_sequence', 'floor', 'appended_orders', 'appended_bytes')
local last_ms, last_sequence = tonumber(meta[1]), tonumber(meta[2])
local seen_ms, seen_sequence = tonumber(ARGV[4]), tonumber(ARGV[5])
if seen_ms > last_ms or (seen_ms == last_ms and seen_sequence > last_sequence) then
  last_ms, last_sequence = seen_ms, seen_sequence
end
if last_ms > 0 then redis.call('XSETID', KEYS[2], string.format('%.0f-%d', last_ms, last_sequence)) end
if redis.call('XLEN', KEYS[2]) == 0 then
  redis.call('HSET', KEYS[1], 'acknowledged_orders', meta[4], 'acknowledged_bytes', meta[5])
end
local now_ms = read_clock()
redis.call('HSET', KEYS[1], 'token', token, 'epoch', epoch, 'line', epoch, 'last_ms', last_ms,
  'last_sequence', last_sequence, 'floor', math.max(tonumber(meta[3]), now_ms + tonumber(ARGV[6])), 'adopted_ms', now_ms)
redis.call('PUBLISH', (string.gsub(KEYS[1], 'meta$', 'changes')), '*')
return {'adopted'}
