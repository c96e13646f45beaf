// Before a load: which drop is sold. After it: nothing was sold twice.

import { sleep } from 'k6';
import { Gauge, Rate } from 'k6/metrics';
import { ask } from './api.js';
import { orderFaults, stockFaults } from './oversell.js';
import { OPERATOR_TOKEN, ORDERS_MAX, ORIGIN, SKU } from './settings.js';
import { tokenSource } from './tokens.js';

/** Whether the figures of the drop were right at the end. */
const sound = new Rate('oversell_check');
/** The stock as it was found at the end, for the summary. */
const gauges = {
  total: new Gauge('stock_total_units'),
  available: new Gauge('stock_available_units'),
  held: new Gauge('stock_held_units'),
  sold: new Gauge('stock_sold_units'),
};
const counted = new Gauge('orders_counted');

/** Snapshots of shoppers are refreshed four times a second. */
const SETTLE_S = 1;
/** How often the orders are counted anew while somebody still buys or cancels. */
const COUNTS_MAX = 5;

/** k6's `setup` of every script: finds the drop, and says what to do if there is none. */
export function findDrop({ shoppers = false } = {}) {
  const status = ask.saleStatus();
  if (status.status === 0) throw new Error(`nothing answers at ${ORIGIN} (${status.error}): start Stampede, or set API_URL`);
  if (status.status === 404) {
    throw new Error(`no drop of ${SKU} at ${ORIGIN}: make one by \`stampede seed --sku ${SKU} --units 10000\`, or set SKU`);
  }
  if (status.status !== 200) throw new Error(`sale-status says ${status.status}: ${status.body}`);
  const { drop_id: id, phase } = status.json();
  if (shoppers && (phase === 'ended' || phase === 'cancelled')) {
    throw new Error(`the drop ${id} of ${SKU} is ${phase}: make a new one by \`stampede seed --sku ${SKU} --drop-id NEW\``);
  }
  const found = ask.drop(id);
  if (found.status !== 200) throw new Error(`drop ${id}: ${found.status} ${found.body}`);
  const { limit_per_user, cancellable_for_s, stock } = found.json();
  return {
    drop: { id, limit_per_user, cancellable_for_s },
    before: stock,
    // Shoppers of this run are nobody's of another.
    run: Date.now().toString(36),
    tokens: shoppers ? tokenSource() : null,
  };
}

/** k6's `teardown` of every script. What it finds wrong fails the run, by the threshold of `oversell_check`. */
export function proveNoOversell({ drop, before }) {
  sleep(SETTLE_S);
  const stock = readStock(drop.id);
  for (const name of Object.keys(gauges)) gauges[name].add(stock[name]);
  const faults = stockFaults(stock, before);
  if (OPERATOR_TOKEN) faults.push(...countOrders(drop));
  for (const fault of faults) console.error(`drop ${drop.id}: ${fault}`);
  sound.add(faults.length === 0);
}

function countOrders(drop) {
  for (let attempt = 0; attempt < COUNTS_MAX; attempt += 1) {
    const stock = readStock(drop.id);
    const orders = listOrders(drop.id);
    if (orders === null) {
      console.warn(`orders are not counted: there are more than ORDERS_MAX=${ORDERS_MAX}`);
      return [];
    }
    // Figures of two moments cannot be compared.
    if (readStock(drop.id).version === stock.version) {
      counted.add(orders.length);
      return orderFaults(orders, drop, stock);
    }
    sleep(SETTLE_S);
  }
  return ['the orders cannot be counted: somebody else buys or cancels all the time'];
}

function readStock(id) {
  const response = ask.stock(id);
  if (response.status !== 200) throw new Error(`the stock of ${id} cannot be read: ${response.status} ${response.body}`);
  return response.json();
}

/** All orders of a drop; null if there are more than may be counted. */
function listOrders(id) {
  const orders = [];
  let cursor = null;
  do {
    const response = ask.ordersOfDrop(id, cursor);
    if (response.status !== 200) throw new Error(`the orders of ${id} cannot be read: ${response.status} ${response.body}`);
    const page = response.json();
    orders.push(...page.items);
    cursor = page.next_cursor;
    if (orders.length > ORDERS_MAX) return null;
  } while (cursor !== null);
  return orders;
}
