-- wrk: places one order per request, each for another shopper with a token and a key of its own.
-- Arguments: FILE, of which each thread n has FILE.n with a token a line; drop; what keys begin with. The counters are read by bench/load.py.
local threads = {}

function setup(thread)
  thread:set('number', #threads)
  threads[#threads + 1] = thread
end

function init(args)
  -- wrk's own pauses would look like a slow server.
  collectgarbage('setpause', 100)
  local file, drop, run = args[1], args[2], args[3]
  -- Read as they are needed: a table of a million tokens would be walked by the collector again and again.
  tokens = assert(io.open(file .. '.' .. number))
  at, key = 0, run .. '-' .. number .. '-'
  wrk.method = 'POST'
  wrk.body = '{"drop_id":"' .. drop .. '","quantity":1}'
  headers = {['Content-Type'] = 'application/json'}
  created, refused, other, exhausted = 0, 0, 0, 0
end

function request()
  at = at + 1
  local token = tokens:read('*l')
  if not token then
    exhausted = exhausted + 1
    tokens:seek('set')
    token = tokens:read('*l')
  end
  headers['Authorization'] = 'Bearer ' .. token
  headers['Idempotency-Key'] = key .. at
  return wrk.format(nil, nil, headers)
end

function response(status)
  if status == 201 then created = created + 1
  elseif status == 409 then refused = refused + 1
  else other = other + 1 end
end

function done(summary, latency)
  local sums = {created = 0, refused = 0, other = 0, exhausted = 0}
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + (thread:get(name) or 0) end
  end
  io.write(string.format('RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d, ' ..
    '"created": %d, "refused": %d, "other": %d, "exhausted": %d}\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    sums.created, sums.refused, sums.other, sums.exhausted))
end
