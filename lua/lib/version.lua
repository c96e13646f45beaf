-- The version of a drop that the shard's last entry changed: see `Version` in the domain crate.
local function version(epoch, number)
  return string.format('%.0f', epoch * 4294967296 + number)
end
