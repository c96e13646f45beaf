--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/drop_reply
--@include lib/set_spread_timer
-- Logs one change of a drop and writes it; the reply says `changed` and carries the drop.
local function change_drop(shard, log_key, unsettled_key, timers_key, drop_key, kind, data, fields)
  if not append_entry(shard, log_key, kind, data, '', 0) then return {'shard-recovering'} end
  touch_drop(shard, unsettled_key, drop_key, fields)
  set_spread_timer(shard, timers_key, drop_key)
  announce(shard, drop_key)
  return drop_reply('changed', shard, drop_key)
end
