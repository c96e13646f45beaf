// The crowd in front of the shop: nothing but looks at the sale's status, at a constant rate. Each virtual user is a browser,
// which keeps its connection and the entity tag of the answer before.

import { findDrop, proveNoOversell } from './lib/drop.js';
import { constant, options as asked } from './lib/options.js';
import { plan } from './lib/settings.js';
import { watch } from './lib/shopper.js';
import { summarise } from './lib/summary.js';

const PLAN = plan(1000, 60);

export const options = asked(
  { crowd: constant('look', PLAN, { vus: PLAN.rate / 4, maxVUs: PLAN.rate }) },
  PLAN.rate * PLAN.durationS,
);

let etag = null;

export const setup = () => findDrop();

export function look() {
  const response = watch(etag);
  if (response.status === 200) etag = response.headers.Etag;
}

export const teardown = proveNoOversell;
export const handleSummary = summarise('sale-status');
