--@include lib/drop_id
--@include lib/version
-- Writes what the entry just appended made of a drop: its fields, its version, and that the archive may not know yet.
-- `fields` is a flat list of names and values.
local function touch_drop(shard, unsettled_key, drop_key, fields)
  redis.call('HSET', drop_key, 'version', version(shard.epoch, shard.number), unpack(fields))
  -- Greater only: a drop with dead letters stays unsettled.
  redis.call('ZADD', unsettled_key, 'GT', shard.number, drop_id(drop_key))
end
