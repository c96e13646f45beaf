--@include lib/open_shard
-- Opens the shard for a call that may change something. Returns the shard, or nil and the reply that refuses the call.
--
-- Redis executes commands whose sender has gone, so each call has a deadline. A call that settles another's unknown outcome
-- raises the floor to that one's deadline before anything is decided: the other can never take effect afterwards.
local function enter(meta_key, deadline_ms, floor_ms)
  local shard = open_shard(meta_key)
  if not shard then return nil, {'shard-recovering'} end
  if floor_ms > shard.floor then
    redis.call('HSET', meta_key, 'floor', floor_ms)
    shard.floor = floor_ms
  end
  local now_ms = math.max(shard.time_ms, shard.floor)
  if now_ms >= deadline_ms then return nil, {'past-deadline', now_ms} end
  return shard
end
