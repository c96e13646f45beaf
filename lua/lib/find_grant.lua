-- Where a grant stands in a user's record, and the number of its state; nothing if it is not there.
local function find_grant(record, position, index)
  for r = 1, #record, 28 do
    local high, low = string.byte(record, r + 26, r + 27)
    if string.sub(record, r, r + 7) == position and high % 4 * 256 + low == index then
      return r, math.floor(high / 4)
    end
  end
end
