// Orders, each of another shopper, with a key of its own, as often as the connections allow. What comes once the drop is sold
// out is refused, and is counted as that.

import { run } from './lib/run.js';
import { shoppers } from './lib/shoppers.js';

await run('create-order', ({ drop }) => {
  const next = shoppers();
  const body = JSON.stringify({ drop_id: drop.id, quantity: 1 });
  const setupRequest = (request) => {
    const { token, key } = next();
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}`, 'Idempotency-Key': key };
    return { ...request, headers };
  };
  return { method: 'POST', path: '/api/v1/orders', body, setupRequest };
});
