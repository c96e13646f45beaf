// Before a load: which drop is sold. After it: nothing was sold twice, and nothing that was confirmed is lost.

import { setTimeout as sleep } from 'node:timers/promises';
import { grantFaults, orderFaults, stockFaults } from '../../../k6/lib/oversell.js';
import { OPERATOR_TOKEN, ORDERS_MAX, ORIGIN, SKU } from '../../../k6/lib/settings.js';

/** Snapshots of shoppers are refreshed four times a second, and orders that were cut off at the end are decided. */
const SETTLE_MS = 1_000;
/** How often the orders are counted anew while somebody still buys or cancels. */
const COUNTS_MAX = 5;

/** The drop that the sku's sale-status names, and its stock. */
export async function findDrop() {
  const { drop_id: id } = await read(`/products/${encodeURIComponent(SKU)}/sale-status`, `make a drop, or set SKU and API_URL`);
  const { limit_per_user, stock } = await read(`/drops/${id}`);
  return { drop: { id, limit_per_user }, before: stock };
}

/** What is wrong with the drop after so many units were confirmed, in words; and what was looked at. */
export async function findFaults({ drop, before }, granted) {
  await sleep(SETTLE_MS);
  const stock = await read(`/drops/${drop.id}/stock`);
  const faults = [...stockFaults(stock, before), ...grantFaults(granted, stock, before)];
  const counted = OPERATOR_TOKEN ? await countOrders(drop) : { faults: [], told: '' };
  const { total, available, held, sold } = stock;
  const told = `${total} units: ${available} available, ${held} held, ${sold} sold (${before.sold} before)${counted.told}`;
  return { faults: [...faults, ...counted.faults], told };
}

async function countOrders(drop) {
  for (let attempt = 0; attempt < COUNTS_MAX; attempt += 1) {
    const stock = await read(`/drops/${drop.id}/stock`);
    const orders = await listOrders(drop.id);
    if (orders === null) return { faults: [], told: `, orders not counted: more than ORDERS_MAX=${ORDERS_MAX}` };
    const again = await read(`/drops/${drop.id}/stock`);
    // Figures of two moments cannot be compared.
    if (again.version === stock.version) {
      return { faults: orderFaults(orders, drop, stock), told: `, ${orders.length} orders counted` };
    }
    await sleep(SETTLE_MS);
  }
  return { faults: ['the orders cannot be counted: somebody else buys or cancels all the time'], told: '' };
}

/** All orders of a drop; null if there are more than may be counted. */
async function listOrders(id) {
  const orders = [];
  let from = '';
  do {
    const page = await read(`/orders?drop_id=${id}&limit=100${from}`);
    orders.push(...page.items);
    from = page.next_cursor === null ? null : `&cursor=${encodeURIComponent(page.next_cursor)}`;
    if (orders.length > ORDERS_MAX) return null;
  } while (from !== null);
  return orders;
}

async function read(path, advice = 'see the log of the API') {
  const headers = OPERATOR_TOKEN ? { Authorization: `Bearer ${OPERATOR_TOKEN}` } : {};
  const response = await fetch(`${ORIGIN}/api/v1${path}`, { headers }).catch((error) => {
    throw new Error(`nothing answers at ${ORIGIN} (${error.cause?.code ?? error.message}): start Stampede, or set API_URL`);
  });
  if (!response.ok) throw new Error(`GET ${path} says ${response.status}: ${advice}\n${await response.text()}`);
  return response.json();
}
