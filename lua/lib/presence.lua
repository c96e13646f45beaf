--@include lib/drop_id
-- Whether a shard has a drop: 0 if it was never opened here, 1 if it is whole, 2 if a key is missing.
local function presence(drops_key, drop_key, users_key)
  local known = redis.call('SISMEMBER', drops_key, drop_id(drop_key))
  local there = redis.call('EXISTS', drop_key, users_key)
  if there == 2 * known then return known end
  return 2
end
