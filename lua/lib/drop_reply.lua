--@include lib/read_drop
-- The reply that carries a drop: a code, the shard's token, epoch and clock, and the drop's fields.
local function drop_reply(code, shard, drop_key)
  return {code, shard.token, shard.epoch, math.max(shard.time_ms, shard.last_ms), read_drop(drop_key)}
end
