// What every script asks of a run: its thresholds, and what the summary needs to know.

import { OUTCOMES } from './api.js';
import { LATENCY_SLACK } from './settings.js';

/** Milliseconds for p95 and p99, by the name of the request; in the order in which a shopper sends them. */
const LATENCY_MS = {
  'get-product': [100, 300],
  'get-sale-status': [50, 200],
  'sign-in': [100, 300],
  'place-order': [250, 750],
  'retry-order': [250, 750],
  'get-order': [250, 750],
  'my-orders': [300, 1000],
  'cancel-order': [250, 750],
};

/** The names of requests, in that order. */
export const REQUESTS = Object.keys(LATENCY_MS);

/** Requests without an answer, or with one that the contract does not have. A connection may break; not one in a thousand. */
const FAILED_MAX = 0.001;
/** Arrivals that k6 could not make, for lack of virtual users: the load was less than asked for. */
const DROPPED_MAX = 0.01;

/**
 * The options of a script with these scenarios, in which about so many iterations start. `extra` are thresholds of its own.
 */
export function options(scenarios, iterations, extra = {}) {
  const thresholds = {
    checks: ['rate==1'],
    // One sample, at the end. Without it the rate is no number, and the run fails.
    oversell_check: ['rate==1'],
    server_errors: ['count==0'],
    http_req_failed: [`rate<${FAILED_MAX}`],
    dropped_iterations: [`count<=${Math.ceil(iterations * DROPPED_MAX * LATENCY_SLACK)}`],
  };
  for (const [name, [p95, p99]] of Object.entries(LATENCY_MS)) thresholds[`http_req_duration{name:${name}}`] = latency(p95, p99);
  // k6 keeps figures of a tag only where a threshold asks for them; these hold always.
  for (const outcome of OUTCOMES) thresholds[`orders{outcome:${outcome}}`] = ['count>=0'];
  return {
    scenarios,
    thresholds: Object.assign(thresholds, extra),
    summaryTrendStats: ['count', 'avg', 'med', 'p(95)', 'p(99)', 'max'],
    setupTimeout: '60s',
    // Counting orders takes a while.
    teardownTimeout: '10m',
  };
}

/** Thresholds for p95 and p99 in milliseconds. */
export function latency(p95, p99) {
  return [`p(95)<${p95 * LATENCY_SLACK}`, `p(99)<${p99 * LATENCY_SLACK}`];
}

/**
 * A scenario of the open model: arrivals come at their rate, however slow the answers are. `stages` are shares of the
 * duration and of the rate; a stage moves to its rate in a straight line.
 */
export function arrivals(exec, { rate, durationS }, stages, { vus, maxVUs, startRate = 0, startS = 0 }) {
  return {
    executor: 'ramping-arrival-rate',
    exec,
    startTime: `${Math.round(startS * 1000)}ms`,
    startRate: Math.round(rate * startRate),
    timeUnit: '1s',
    stages: stages.map(([share, target]) => ({
      duration: `${Math.round(durationS * share * 1000)}ms`,
      target: Math.round(rate * target),
    })),
    preAllocatedVUs: Math.ceil(vus),
    maxVUs: Math.ceil(maxVUs),
    gracefulStop: '30s',
  };
}

/** A constant rate of arrivals. */
export function constant(exec, { rate, durationS }, { vus, maxVUs }) {
  const peak = { rate: Math.round(rate), duration: `${Math.round(durationS * 1000)}ms`, timeUnit: '1s' };
  return Object.assign(peak, {
    executor: 'constant-arrival-rate',
    exec,
    preAllocatedVUs: Math.ceil(vus),
    maxVUs: Math.ceil(maxVUs),
    gracefulStop: '30s',
  });
}

/** How many arrivals these stages make, about. */
export function count({ rate, durationS }, stages, startRate = 0) {
  let [from, total] = [startRate, 0];
  for (const [share, target] of stages) {
    total += (share * durationS * rate * (from + target)) / 2;
    from = target;
  }
  return Math.ceil(total);
}
