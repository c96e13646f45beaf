// The checks at the end of every load, on figures that are right and on figures that are not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { grantFaults, orderFaults, stockFaults } from '../lib/oversell.js';

const STOCK = { total: 10, available: 6, held: 1, sold: 3 };
const DROP = { id: 'friday', limit_per_user: 2 };

function order(id, user_id, more = {}) {
  return { id, user_id, drop_id: 'friday', quantity: 1, status: 'confirmed', ...more };
}

const ORDERS = [order('a', 'ann', { quantity: 2 }), order('b', 'bob'), order('c', 'ann', { status: 'cancelled' })];

test('a sound drop has no faults', () => {
  assert.deepEqual(stockFaults(STOCK, { ...STOCK, total: 9 }), []);
  assert.deepEqual(stockFaults({ total: 10, available: 0, held: 0, sold: 10 }), []);
  assert.deepEqual(orderFaults(ORDERS, DROP, STOCK), []);
  assert.deepEqual(grantFaults(2, STOCK, { ...STOCK, sold: 1 }), []);
});

test('more units sold or held than there are is an oversale', () => {
  for (const wrong of [{ sold: 11 }, { sold: 10, held: 1 }]) {
    const faults = stockFaults({ ...STOCK, available: 0, ...wrong });
    assert.match(faults.join(), /^oversold: 1[01] sold and [01] held of 10/);
  }
});

test('units that are nowhere, or twice, are a fault', () => {
  for (const available of [5, 7]) assert.match(stockFaults({ ...STOCK, available }).join(), /^unbalanced/);
  assert.match(stockFaults(STOCK, { ...STOCK, total: 11 }).join(), /^units disappeared/);
});

test('what is no number of units is a fault', () => {
  for (const sold of [-1, 1.5, '3', null, undefined]) assert.match(stockFaults({ ...STOCK, sold }).join(), /^sold is/);
});

test('orders that say something else than the stock are a fault', () => {
  assert.match(orderFaults(ORDERS, DROP, { ...STOCK, sold: 2 }).join(), /have 3 units, the stock says that 2 are sold/);
  assert.match(orderFaults([], DROP, STOCK).join(), /have 0 units/);
  const many = Array.from({ length: 11 }, (_, number) => order(`${number}`, `user-${number}`));
  assert.match(orderFaults(many, DROP, { ...STOCK, sold: 11 }).join(), /^oversold: the confirmed orders have 11 units of 10/);
});

test('a user beyond the limit is a fault, and a cancelled order does not count', () => {
  const more = [...ORDERS, order('d', 'ann')];
  assert.match(orderFaults(more, DROP, { ...STOCK, sold: 4 }).join(), /^ann has 3 units, the limit is 2/);
});

test('an order that is listed twice, or is of another drop, is a fault', () => {
  const twice = [order('a', 'ann'), order('a', 'bob')];
  assert.match(orderFaults(twice, DROP, { ...STOCK, sold: 2 }).join(), /^order a is listed twice/);
  const other = [order('a', 'ann', { drop_id: 'monday' })];
  assert.match(orderFaults(other, DROP, { ...STOCK, sold: 1 }).join(), /^order a is of monday/);
});

test('a confirmed unit that is not sold is lost', () => {
  assert.match(grantFaults(3, STOCK, { ...STOCK, sold: 1 }).join(), /^lost: 3 units were confirmed, but only 2 more/);
});
