// From a quiet shop to a stampede within a second, and back: every shopper looks at the sale once and orders. What is asked
// for is that nothing breaks, and that the service is as fast after the spike as it was before.

import { findDrop, proveNoOversell } from './lib/drop.js';
import { arrivals, count, latency, options as asked } from './lib/options.js';
import { plan } from './lib/settings.js';
import { orderOnce, watch } from './lib/shopper.js';
import { summarise } from './lib/summary.js';
import { expectShoppers } from './lib/tokens.js';

const PLAN = plan(500, 120);
const QUIET = 0.05;

// Shares of the duration, and of the rate that they lead to.
const PARTS = {
  before: { stages: [[0.25, QUIET]], startRate: QUIET },
  spike: { stages: [[0.01, 1], [0.24, 1], [0.05, QUIET]], startRate: QUIET },
  // It begins when the spike is over, and what waited may have been answered.
  after: { stages: [[0.35, QUIET]], startRate: QUIET, pause: 0.1 },
};

const scenarios = {};
const first = {};
let [shoppers, startShare] = [0, 0];
for (const [name, { stages, startRate, pause = 0 }] of Object.entries(PARTS)) {
  startShare += pause;
  // A scenario may start a little more or less than its stages say: numbers of shoppers keep clear of each other.
  first[name] = shoppers;
  shoppers += count(PLAN, stages, startRate) + PLAN.rate;
  const virtualUsers = { vus: PLAN.rate / 2, maxVUs: PLAN.rate * 3 };
  scenarios[name] = arrivals(name, PLAN, stages, { ...virtualUsers, startRate, startS: startShare * PLAN.durationS });
  startShare += stages.reduce((sum, [share]) => sum + share, 0);
}

expectShoppers(shoppers);

// In the spike itself orders may take longer; a second is still no lost shopper.
export const options = asked(scenarios, shoppers, {
  'http_req_duration{name:place-order}': latency(1000, 2000),
  'http_req_duration{name:get-sale-status}': latency(500, 1000),
  'http_req_duration{scenario:before}': latency(100, 300),
  'http_req_duration{scenario:spike}': latency(1000, 2000),
  'http_req_duration{scenario:after}': latency(100, 300),
});

function lookAndOrder(data, from) {
  watch(null);
  orderOnce(data, from);
}

export const setup = () => findDrop({ shoppers: true });
export const before = (data) => lookAndOrder(data, first.before);
export const spike = (data) => lookAndOrder(data, first.spike);
export const after = (data) => lookAndOrder(data, first.after);
export const teardown = proveNoOversell;
export const handleSummary = summarise('spike');
