// A steady sale for an hour: whole visits at a low rate. Memory, connections and files that are not given back show as
// latency that grows, so the last tenth of the run has thresholds of its own, the same as those of the first.

import exec from 'k6/execution';
import { findDrop, proveNoOversell } from './lib/drop.js';
import { constant, latency, options as asked } from './lib/options.js';
import { plan } from './lib/settings.js';
import { visit } from './lib/shopper.js';
import { summarise } from './lib/summary.js';
import { expectShoppers } from './lib/tokens.js';

const PLAN = plan(20, 3600, 60);
const VISITS = PLAN.rate * PLAN.durationS;
const PATIENCE_S = 10;
/** The share of the run that is called its first and its last part. */
const PART = 0.1;

expectShoppers(VISITS);

export const options = asked(
  { visits: constant('come', PLAN, { vus: PLAN.rate * 4, maxVUs: PLAN.rate * 2 * PATIENCE_S }) },
  VISITS,
  {
    'http_req_duration{part:first}': latency(150, 500),
    'http_req_duration{part:last}': latency(150, 500),
  },
);

function part() {
  if (exec.scenario.progress < PART) return 'first';
  return exec.scenario.progress > 1 - PART ? 'last' : 'middle';
}

export const setup = () => findDrop({ shoppers: true });

export function come(data) {
  exec.vu.metrics.tags.part = part();
  visit(data, { patienceS: PATIENCE_S, pace: PLAN.pace });
}

export const teardown = proveNoOversell;
export const handleSummary = summarise('soak');
