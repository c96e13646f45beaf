-- The id of the last entry that was given to a persister: its ms and its sequence, as text.
local function last_delivered(log_key)
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', log_key)) do
    local fields = {}
    for f = 1, #group, 2 do fields[group[f]] = group[f + 1] end
    if fields['name'] == 'persister' then return string.match(fields['last-delivered-id'], '(%d+)-(%d+)') end
  end
end
