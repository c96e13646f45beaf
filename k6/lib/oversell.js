// What must be true of a drop's figures, whatever was sent. Pure functions: k6 and Node.js both run them.

const UNITS = ['total', 'available', 'held', 'sold'];

/** What is wrong with a drop's stock, in words; empty if nothing is. `before` is the stock before the load, if it is known. */
export function stockFaults(stock, before) {
  const broken = UNITS.filter((name) => !Number.isInteger(stock[name]) || stock[name] < 0);
  if (broken.length > 0) return broken.map((name) => `${name} is ${stock[name]}, which is no number of units`);
  const { total, available, held, sold } = stock;
  const faults = [];
  if (sold + held > total) faults.push(`oversold: ${sold} sold and ${held} held of ${total}`);
  if (available + held + sold !== total) {
    faults.push(`unbalanced: ${available} available + ${held} held + ${sold} sold is not ${total}`);
  }
  if (before && total < before.total) faults.push(`units disappeared: there were ${before.total}, now ${total}`);
  return faults;
}

/**
 * What is wrong with all orders of a drop, in words; empty if nothing is. The stock must be of the same moment.
 * `drop` has `id` and `limit_per_user`.
 */
export function orderFaults(orders, drop, stock) {
  const faults = [];
  const ids = new Set();
  const unitsOf = new Map();
  let sold = 0;
  for (const order of orders) {
    if (ids.has(order.id)) faults.push(`order ${order.id} is listed twice`);
    ids.add(order.id);
    if (order.drop_id !== drop.id) faults.push(`order ${order.id} is of ${order.drop_id}`);
    if (order.status !== 'confirmed') continue;
    sold += order.quantity;
    unitsOf.set(order.user_id, (unitsOf.get(order.user_id) || 0) + order.quantity);
  }
  for (const [user, units] of unitsOf) {
    if (units > drop.limit_per_user) faults.push(`${user} has ${units} units, the limit is ${drop.limit_per_user}`);
  }
  if (sold > stock.total) faults.push(`oversold: the confirmed orders have ${sold} units of ${stock.total}`);
  if (sold !== stock.sold) faults.push(`the confirmed orders have ${sold} units, the stock says that ${stock.sold} are sold`);
  return faults;
}

/** What is wrong with the stock after a load of which `granted` units were confirmed and none cancelled. */
export function grantFaults(granted, stock, before) {
  const grown = stock.sold - before.sold;
  return grown < granted ? [`lost: ${granted} units were confirmed, but only ${grown} more are sold`] : [];
}
