-- Moves the shard's clock on to the next entry's id. It never steps back, whatever Redis's clock does, and the sequence
-- stays within 16 bits.
local function next_position(shard)
  if shard.time_ms > shard.last_ms then
    shard.ms, shard.sequence = shard.time_ms, 0
  elseif shard.last_sequence < 65535 then
    shard.ms, shard.sequence = shard.last_ms, shard.last_sequence + 1
  else
    shard.ms, shard.sequence = shard.last_ms + 1, 0
  end
end
