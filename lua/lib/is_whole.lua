--@include lib/has_log
--@include lib/has_sentinel
-- Whether the keys of the shard that a script names are there. All exist from its opening on; a missing one is loss.
local function is_whole(log_key, unsettled_key, timers_key)
  return has_log(log_key) and has_sentinel(unsettled_key) and (not timers_key or has_sentinel(timers_key))
end
