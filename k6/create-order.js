// Orders and nothing else, at a constant rate: each of another shopper, with a key of its own. When the drop is sold out it
// measures refusals; the summary says how many of both there were.

import { findDrop, proveNoOversell } from './lib/drop.js';
import { constant, options as asked } from './lib/options.js';
import { plan } from './lib/settings.js';
import { orderOnce } from './lib/shopper.js';
import { summarise } from './lib/summary.js';
import { expectShoppers } from './lib/tokens.js';

const PLAN = plan(200, 60);
const SHOPPERS = PLAN.rate * PLAN.durationS;

expectShoppers(SHOPPERS);

export const options = asked(
  { orders: constant('order', PLAN, { vus: PLAN.rate / 4, maxVUs: PLAN.rate * 2 }) },
  SHOPPERS,
);

export const setup = () => findDrop({ shoppers: true });
export const order = (data) => orderOnce(data);
export const teardown = proveNoOversell;
export const handleSummary = summarise('create-order');
