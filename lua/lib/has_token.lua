--@include lib/read_replication
-- Whether this Redis process has this token: see `read_token`. To look for a text that is known costs less than to cut it out.
local function has_token(token)
  return string.find(read_replication(), 'master_replid:' .. token .. '\r', 1, true) ~= nil
end
