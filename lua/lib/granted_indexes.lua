-- The indexes of those orders of a group that were granted, two bytes each, one behind the other.
local function granted_indexes(results)
  local indexes = {}
  for index, result in ipairs(results) do
    if result == 'g' then indexes[#indexes + 1] = struct.pack('>I2', index - 1) end
  end
  return table.concat(indexes)
end
