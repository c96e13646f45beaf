--@include lib/read_replication
-- The token of this Redis process: new after every start and every promotion. `run_id` will not do: a demoted primary
-- that is promoted again, with older data, has its old one.
local function read_token()
  return string.match(read_replication(), 'master_replid:(%x+)')
end
