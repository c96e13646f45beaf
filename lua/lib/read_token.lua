-- The token of this Redis process: new after every start and every promotion. `run_id` will not do: a demoted primary
-- that is promoted again, with older data, has its old one. A replica has no say: it names its primary's token as its own,
-- and may not even know what that one has confirmed. Its refusal is the one with which Redis answers a write there.
local function read_token()
  local info = redis.call('INFO', 'replication')
  if not string.find(info, 'role:master', 1, true) then error({err = 'READONLY a replica decides nothing'}) end
  return string.match(info, 'master_replid:(%x+)')
end
