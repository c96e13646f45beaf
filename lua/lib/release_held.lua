--@include lib/append_entry
--@include lib/touch_drop
--@include lib/announce
--@include lib/drop_id
--@include lib/none_held
-- Makes the held units of a drop available, as an entry of its own. Returns false, with nothing written, if the log is missing.
local function release_held(shard, log_key, unsettled_key, drop_key)
  local data = '{"drop_id":"' .. drop_id(drop_key) .. '","kind":"released"}'
  if not append_entry(shard, log_key, 'released', data, '', 0) then return false end
  touch_drop(shard, unsettled_key, drop_key, none_held(drop_key, {}))
  announce(shard, drop_key)
  return true
end
