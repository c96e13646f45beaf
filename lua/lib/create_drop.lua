--@include lib/drop_id
--@include lib/set_timers
-- Writes the keys of a drop that has all its units. `terms` is a list: sku, starts_ms, ends_ms, limit_per_user,
-- price_minor, currency, cancellable_for_s, cancellations_per_user, units, durability ('' for the deployment's), stripes ('' if
-- there is one), hold_ms. A striped drop sells nothing before it is activated; `activate_ms` is when a worker looks whether it may be.
local function create_drop(timers_key, drops_key, drop_key, users_key, terms, activate_ms)
  redis.call('HSET', drop_key, 'sku', terms[1], 'state', terms[11] == '' and 'open' or 'opening', 'starts_ms', terms[2], 'ends_ms', terms[3],
    'limit_per_user', terms[4], 'price_minor', terms[5], 'currency', terms[6], 'cancellable_for_s', terms[7],
    'cancellations_per_user', terms[8], 'total', terms[9], 'available', terms[9], 'held', 0, 'sold', 0, 'restocks', 0,
    'over_ms', '', 'version', 0, 'durability', terms[10], 'stripes', terms[11], 'sent', 0, 'received', 0,
    'hold_ms', terms[12])
  redis.call('HSET', users_key, '-', 1)
  redis.call('SADD', drops_key, drop_id(drop_key))
  set_timers(timers_key, drop_key, terms[2], terms[3])
  if terms[11] ~= '' then redis.call('ZADD', timers_key, activate_ms, 'activate:' .. drop_id(drop_key)) end
end
