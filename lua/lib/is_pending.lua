-- Whether an entry was given to a persister and not acknowledged.
local function is_pending(log_key, id)
  return #redis.call('XPENDING', log_key, 'persister', id, id, 1) > 0
end
