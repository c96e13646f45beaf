-- Whether the log exists: it does from the opening of the shard on, however empty it is.
local function has_log(log_key)
  return redis.call('EXISTS', log_key) == 1
end
