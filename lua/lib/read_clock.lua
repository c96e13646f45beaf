-- Redis's clock, in whole milliseconds since the Unix epoch.
local function read_clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
