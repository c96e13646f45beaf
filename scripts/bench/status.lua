-- wrk: reads the sale's status.
function init()
  collectgarbage('setpause', 100)
end

function done(summary, latency)
  io.write(string.format('RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d, ' ..
    '"created": 0, "refused": 0, "other": %d, "exhausted": 0}\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.errors.status))
end
