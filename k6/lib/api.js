// The API as a shopper's browser uses it. Each request has a `name` tag; refusals that the contract has are no failures.

import { check } from 'k6';
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import { OPERATOR_TOKEN, ORIGIN, SKU } from './settings.js';

export const API = `${ORIGIN}/api/v1`;

/** Answers with a 5xx. */
export const serverErrors = new Counter('server_errors');
/** Answers to orders, by `outcome`: granted, replayed, or the code of the refusal. */
export const orderOutcomes = new Counter('orders');

/** Answers that say that the service limits this machine, or one of its shoppers. */
export const rateLimited = new Counter('rate_limited');

/** Longer than the service itself gives a request. */
const TIMEOUT = '15s';
/** How many wrong answers one virtual user prints. */
const PRINTED_MAX = 3;

const JSON_BODY = { 'Content-Type': 'application/json' };
const BROWSER = { Accept: 'application/json', 'Accept-Encoding': 'gzip, br', 'User-Agent': 'Mozilla/5.0 (k6; Stampede load suite)' };

let printed = 0;

/** A check whose failure is printed, with what was answered. */
export function expect(response, what, holds) {
  const passed = check(response, { [what]: holds });
  if (!passed && printed < PRINTED_MAX) {
    printed += 1;
    console.error(`wrong: ${what}: ${response.status} ${response.error || ''} ${String(response.body).slice(0, 300)}`);
  }
  return passed;
}

function params(name, expected, headers) {
  return {
    headers: Object.assign({}, BROWSER, headers),
    responseCallback: http.expectedStatuses(...expected),
    tags: { name },
    timeout: TIMEOUT,
  };
}

function seen(response) {
  serverErrors.add(response.status >= 500 ? 1 : 0);
  if (response.status === 429) rateLimited.add(1);
  return response;
}

const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const get = (name, path, expected, headers) => seen(http.get(`${API}${path}`, params(name, expected, headers)));

/** The request of an order, for http.batch too. */
function orderRequest(name, drop, token, key) {
  const headers = Object.assign(bearer(token), JSON_BODY, { 'Idempotency-Key': key });
  // 400 the sale is not active, 403 the limit is reached, 409 sold out, 429 too many requests.
  return [`${API}/orders`, JSON.stringify({ drop_id: drop.id, quantity: 1 }), params(name, [201, 400, 403, 409, 429], headers)];
}

/** One function for each request. */
export const ask = {
  product: () => get('get-product', `/products/${SKU}`, [200, 429]),
  drop: (id) => get('get-drop', `/drops/${id}`, [200]),
  /** With the entity tag of the answer before, as a browser sends it. */
  saleStatus: (etag) => {
    const headers = etag ? { 'If-None-Match': etag } : {};
    return get('get-sale-status', `/products/${SKU}/sale-status`, [200, 304, 429], headers);
  },
  /** As an operator, if there is a token: then it comes straight from Redis. */
  stock: (id) => get('get-stock', `/drops/${id}/stock`, [200], OPERATOR_TOKEN ? bearer(OPERATOR_TOKEN) : {}),
  ordersOfDrop: (id, cursor) => {
    const from = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
    return get('list-orders', `/orders?drop_id=${id}&limit=100${from}`, [200], bearer(OPERATOR_TOKEN));
  },
  signIn: (handle) => {
    const body = JSON.stringify(handle ? { handle } : {});
    // 403 and 422 are how a deployment says that it wants another way.
    return seen(http.post(`${API}/sessions`, body, params('sign-in', [201, 403, 422, 429], JSON_BODY)));
  },
  placeOrder: (drop, token, key, name = 'place-order') => {
    const [url, body, how] = orderRequest(name, drop, token, key);
    return judged(seen(http.post(url, body, how)));
  },
  /** A double click: the same order twice at the same time. */
  placeOrderTwice: (drop, token, key) => {
    const [url, body, how] = orderRequest('place-order', drop, token, key);
    return http.batch([['POST', url, body, how], ['POST', url, body, how]]).map((response) => judged(seen(response)));
  },
  order: (id, token) => get('get-order', `/orders/${id}`, [200, 429], bearer(token)),
  myOrders: (token) => get('my-orders', '/orders', [200, 429], bearer(token)),
  cancelOrder: (id, token) => seen(http.del(`${API}/orders/${id}`, null, params('cancel-order', [200, 409, 429], bearer(token)))),
};

/** Counts what became of an order, and checks that the answer says so properly. */
function judged(response) {
  orderOutcomes.add(1, { outcome: outcome(response) });
  if (response.status === 201) {
    expect(response, 'an order is confirmed with an id', (answer) => answer.json('id') !== undefined);
  } else if (response.status >= 400 && response.status < 500) {
    expect(response, 'a refusal says its code', (answer) => REFUSALS.includes(codeOf(answer)));
  }
  return response;
}

/** What shoppers may be told; anything else is a fault of the service or of these scripts. */
const REFUSALS = ['sale-not-active', 'limit-reached', 'sold-out', 'insufficient-stock', 'rate-limited'];

/** The outcomes that are told apart in the summary. */
export const OUTCOMES = ['granted', 'replayed'].concat(REFUSALS, ['server-error', 'no-answer', 'other']);

function outcome(response) {
  if (response.status === 201) return response.headers['Idempotent-Replayed'] === 'true' ? 'replayed' : 'granted';
  if (response.status >= 500) return 'server-error';
  if (response.status === 0) return 'no-answer';
  const code = codeOf(response);
  return REFUSALS.includes(code) ? code : 'other';
}

/** The code of a problem; undefined if it is none. */
export function codeOf(response) {
  const type = response.headers['Content-Type'] || '';
  return type.startsWith('application/problem+json') ? response.json('code') : undefined;
}
