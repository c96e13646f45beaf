// A whole sale in ten minutes. Two minutes long a crowd gathers and waits, then come the rush, the hour of those who are late,
// and a long tail. It is meant for a drop that starts two minutes after the script (`stampede seed --starts-in 2m`); with one
// that is live already, shoppers buy as they come.

import { findDrop, proveNoOversell } from './lib/drop.js';
import { arrivals, count, options as asked } from './lib/options.js';
import { plan } from './lib/settings.js';
import { visit, watch } from './lib/shopper.js';
import { summarise } from './lib/summary.js';
import { expectShoppers } from './lib/tokens.js';

const PLAN = plan(50, 600);
/** Browsers in the background: tabs that are open and only show the sale. */
const TABS = { rate: PLAN.rate * 4, durationS: PLAN.durationS };

// Shares of the duration, and of the rate that they lead to.
const SHOPPERS = [
  [0.1, 0.1], // the first ones
  [0.09, 0.5], // the crowd gathers
  [0.01, 1], // the rush: the sale starts
  [0.08, 1],
  [0.12, 0.3], // those who are late
  [0.3, 0.1], // the tail
  [0.3, 0.02],
];
const LOOKS = [
  [0.1, 0.2],
  [0.09, 0.7],
  [0.01, 1],
  [0.1, 1],
  [0.2, 0.2],
  [0.5, 0.05],
];
/** How long a shopper waits for the start before leaving: the next one comes instead. */
const PATIENCE_S = 30;

const VISITS = count(PLAN, SHOPPERS);

expectShoppers(VISITS);

export const options = asked(
  {
    // Before the start half of the rate comes, and waits as long as the patience lasts.
    shoppers: arrivals('come', PLAN, SHOPPERS, { vus: PLAN.rate * 15, maxVUs: PLAN.rate * PATIENCE_S }),
    tabs: arrivals('look', TABS, LOOKS, { vus: TABS.rate / 4, maxVUs: TABS.rate * 2 }),
  },
  VISITS + count(TABS, LOOKS),
);

let etag = null;

export const setup = () => findDrop({ shoppers: true });

export const come = (data) => visit(data, { patienceS: PATIENCE_S, pace: PLAN.pace });

export function look() {
  const response = watch(etag);
  if (response.status === 200) etag = response.headers.Etag;
}

export const teardown = proveNoOversell;
export const handleSummary = summarise('mixed-sale');
