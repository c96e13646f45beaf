--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/none_held
-- Ends a drop whose window is over. Whoever sees it first writes it down, so that a clock that steps back, or a failover
-- to a slower one, reopens nothing. Nothing is held of a drop that is over.
local function close_by_clock(shard, log_key, unsettled_key, drop_key)
  local over_ms = shard.ms
  local data = '{"drop_id":"' .. drop_id(drop_key) .. '","kind":"closed","by":"clock"}'
  if not append_entry(shard, log_key, 'closed', data, '', 0) then return false end
  touch_drop(shard, unsettled_key, drop_key, none_held(drop_key, {'state', 'ended', 'over_ms', over_ms}))
  announce(shard, drop_key)
  return true
end
