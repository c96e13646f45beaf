-- What this Redis process says of its replication. A replica has no say: it names its primary's token as its own, and may not even
-- know what that one has confirmed. Its refusal is the one with which Redis answers a write there.
local function read_replication()
  local info = redis.call('INFO', 'replication')
  if not string.find(info, 'role:master', 1, true) then error({err = 'READONLY a replica decides nothing'}) end
  return info
end
