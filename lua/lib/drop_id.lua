-- The id of the drop whose hash has this key.
local function drop_id(drop_key)
  return string.match(drop_key, ':drop:([^:]+)$')
end
