-- Whether a sorted set exists: it holds a sentinel from the opening on, so an empty one is not mistaken for a lost one.
local function has_sentinel(key)
  return redis.call('ZSCORE', key, '-')
end
