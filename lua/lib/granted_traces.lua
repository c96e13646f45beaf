-- The trace contexts of those orders of a group that were granted, one behind the other; nil if there are none. Takes 26 bytes
-- a traced order: its index (2) and its context (24).
local function granted_traces(traces, results)
  local kept = {}
  for at = 1, #traces, 26 do
    local index = string.byte(traces, at) * 256 + string.byte(traces, at + 1)
    if results[index + 1] == 'g' then kept[#kept + 1] = string.sub(traces, at + 2, at + 25) end
  end
  return #kept > 0 and table.concat(kept) or nil
end
