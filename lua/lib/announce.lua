--@include lib/drop_id
-- Tells every process that watches this drop to read it again at once.
local function announce(shard, drop_key)
  redis.call('PUBLISH', (string.gsub(shard.meta_key, 'meta$', 'changes')), drop_id(drop_key))
end
