-- What the users of a group's orders bought of the drops with these keys of users: their records by order, false for none; and for
-- each drop whether it has its users. Takes the group as `sale/grant` has cut it; `users` gets a place more.
local function read_records(users_keys, users, terms, count)
  if #users_keys == 1 then
    users[count + 1] = '-'
    local records = redis.call('HMGET', users_keys[1], unpack(users, 1, count + 1))
    return records, {records[count + 1]}
  end
  local asked, indexes, records, has_users = {}, {}, {}, {}
  for d = 1, #users_keys do
    asked[d] = {'-'}
    indexes[d] = {0}
  end
  for index = 1, count do
    local d = terms[4 * index - 1] + 1
    local size = #asked[d] + 1
    asked[d][size], indexes[d][size] = users[index], index
  end
  for d = 1, #users_keys do
    local found = redis.call('HMGET', users_keys[d], unpack(asked[d]))
    has_users[d] = found[1]
    for i = 2, #found do records[indexes[d][i]] = found[i] end
  end
  return records, has_users
end
