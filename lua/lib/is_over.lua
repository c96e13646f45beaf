-- Whether a window with this end ('' means none) is over at `ms`.
local function is_over(ends_ms, ms)
  return ends_ms ~= '' and ms >= tonumber(ends_ms)
end
