// A service that answers as Stampede does, but may be made to do what Stampede must not: `wrong` names it.

import { createServer } from 'node:http';

const DROP = { id: 'friday', sku: 'cap', limit_per_user: 1, cancellable_for_s: 60, phase: 'live' };
const TOTAL = 1_000_000;

/** Starts it on a free port. `wrong`: nothing, `oversold`, `unbalanced`, `uncounted`, `lost`, `doubled`, `failing` or `slow`. */
export async function startFakeApi(wrong = 'nothing') {
  const shop = new Shop(wrong);
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      const { status, headers = {}, json } = shop.answer(request, body);
      const type = status >= 400 ? 'application/problem+json' : 'application/json';
      const send = () => response.writeHead(status, { 'Content-Type': type, ...headers }).end(json && JSON.stringify(json));
      wrong === 'slow' ? setTimeout(send, 100) : send();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

class Shop {
  constructor(wrong) {
    this.wrong = wrong;
    this.orders = new Map();
    this.keys = new Map();
  }

  answer({ method, url, headers }, body) {
    const { pathname: path } = new URL(url, 'http://shop');
    const user = headers.authorization;
    switch (`${method} ${path.replace('/api/v1', '').replace(/(products|drops|orders)\/[^/]+/, '$1/ID')}`) {
      case 'GET /products/ID':
        return { status: 200, json: { sku: DROP.sku } };
      case 'GET /products/ID/sale-status':
        return this.saleStatus(headers);
      case 'GET /drops/ID':
        return { status: 200, json: { ...DROP, stock: this.stock() } };
      case 'GET /drops/ID/stock':
        return { status: 200, json: this.stock() };
      case 'POST /sessions':
        return { status: 201, json: { token: JSON.parse(body).handle ?? `anon-${Math.random()}` } };
      case 'POST /orders':
        return this.place(user, headers['idempotency-key']);
      case 'GET /orders':
        return { status: 200, json: { items: this.listed(user), next_cursor: null } };
      case 'GET /orders/ID':
        return { status: 200, json: this.orders.get(path.split('/').pop()) };
      case 'DELETE /orders/ID':
        this.orders.get(path.split('/').pop()).status = 'cancelled';
        return { status: 200, json: this.orders.get(path.split('/').pop()) };
      default:
        return { status: 404, json: { code: 'not-found' } };
    }
  }

  saleStatus(headers) {
    const etag = '"1"';
    if (headers['if-none-match'] === etag) return { status: 304, headers: { ETag: etag } };
    return { status: 200, headers: { ETag: etag }, json: { drop_id: DROP.id, ...DROP, ...this.stock() } };
  }

  stock() {
    const orders = [...this.orders.values()].filter((order) => order.status === 'confirmed').length;
    const sold = { oversold: TOTAL + 1, lost: 0 }[this.wrong] ?? orders;
    const available = this.wrong === 'unbalanced' ? 1 : Math.max(0, TOTAL - sold);
    return { total: TOTAL, available, held: 0, sold, version: 1 };
  }

  place(user, key) {
    if (this.wrong === 'failing') return { status: 500, json: { code: 'internal' } };
    const known = this.orders.get(this.keys.get(`${user} ${key}`));
    if (known && this.wrong !== 'doubled') return { status: 201, headers: { 'Idempotent-Replayed': 'true' }, json: known };
    const owned = this.listed(user).some((order) => order.status === 'confirmed');
    if (owned && this.wrong !== 'doubled') return { status: 403, json: { code: 'limit-reached' } };
    const order = { id: `o${this.orders.size}`, drop_id: DROP.id, user_id: user, quantity: 1, status: 'confirmed' };
    this.orders.set(order.id, order);
    this.keys.set(`${user} ${key}`, order.id);
    return { status: 201, json: order };
  }

  /** A user's orders; the operator's list has all of them, or one too few. */
  listed(user) {
    const all = [...this.orders.values()];
    if (user !== 'Bearer operator') return all.filter((order) => order.user_id === user);
    return this.wrong === 'uncounted' ? all.slice(1) : all;
  }
}
