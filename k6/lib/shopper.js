// What a shopper does, from the first look to the last.

import exec from 'k6/execution';
import { sleep } from 'k6';
import { ask, codeOf, expect } from './api.js';
import { tokenOf } from './tokens.js';

/** Shares of shoppers. Of those who may buy: */
const SHARE = {
  // leave without ordering,
  leaves: 0.1,
  // click twice,
  doubleClick: 0.1,
  // send the order again later, as after a broken connection,
  retries: 0.15,
  // look at their orders afterwards,
  looks: 0.5,
  // cancel, where the drop allows it,
  cancels: 0.1,
  // want more than the limit allows.
  greedy: 0.05,
  // Of those who find it sold out, so many try all the same.
  triesAnyway: 0.3,
};

/** A browser asks again after about so many seconds. */
const POLL_S = [1, 3];
/** A shopper needs so many seconds to choose. */
const DECIDE_S = [0.5, 3];
/** What is sent again is sent after so many seconds. */
const RETRY_S = [0.2, 2];
/** A 503 is answered by the same request, so often. */
const ATTEMPTS_MAX = 4;

const chance = (share) => Math.random() < share;
const pause = ([least, most], pace) => sleep((least + Math.random() * (most - least)) * pace);

/** The next shopper of this run, nobody else's. `first` is where the numbers of the scenario begin. */
export function nextShopper(data, first = 0) {
  const number = first + exec.scenario.iterationInTest;
  return { number, token: tokenOf(number, data), key: `${data.run}-${number}` };
}

/** One order, and nothing around it. */
export function orderOnce(data, first) {
  const shopper = nextShopper(data, first);
  if (shopper.token !== null) ask.placeOrder(data.drop, shopper.token, shopper.key);
}

/**
 * A whole visit. `patienceS` is how long the shopper waits for the start; `pace` shortens every pause.
 */
export function visit(data, { patienceS, pace, first = 0 }) {
  ask.product();
  const phase = waitForStart(patienceS, pace);
  if (phase === 'sold_out' ? !chance(SHARE.triesAnyway) : phase !== 'live') return;
  pause(DECIDE_S, pace);
  if (chance(SHARE.leaves)) return;
  const shopper = nextShopper(data, first);
  if (shopper.token === null) return;
  const order = buy(data.drop, shopper, pace);
  if (order !== null) afterwards(data.drop, shopper, order, pace);
}

/** Looks at the sale until it is live or over, or patience ends; the phase that was seen last. */
function waitForStart(patienceS, pace) {
  const until = Date.now() + patienceS * pace * 1000;
  let [phase, etag] = [null, null];
  for (;;) {
    const response = watch(etag);
    if (response.status === 200) [phase, etag] = [response.json('phase'), response.headers.Etag];
    const waits = phase === null || phase === 'scheduled' || phase === 'paused';
    if (!waits || Date.now() >= until) return phase;
    pause(POLL_S, pace);
  }
}

/** One look at the sale, by a browser that may have seen it before. */
export function watch(etag) {
  const response = ask.saleStatus(etag);
  if (response.status === 200) {
    expect(response, 'a sale has units and an entity tag', (answer) => {
      const { available, total } = answer.json();
      return available >= 0 && available <= total && answer.headers.Etag !== undefined;
    });
  } else if (response.status === 304) {
    expect(response, 'only a browser that has it is told that nothing changed', (answer) => Boolean(etag) && !answer.body);
  }
  return response;
}

/** Places the order, once or by a double click, and sends it again while the service says that it may; the order or null. */
function buy(drop, { token, key }, pace) {
  let [response, twin] = chance(SHARE.doubleClick) ? ask.placeOrderTwice(drop, token, key) : [ask.placeOrder(drop, token, key)];
  if (twin && response.status === 201 && twin.status === 201) expectSame(twin, response.json('id'));
  if (response.status !== 201 && twin && twin.status === 201) response = twin;
  for (let attempt = 1; attempt < ATTEMPTS_MAX && isPassing(response); attempt += 1) {
    sleep(Number(response.headers['Retry-After']) || 1);
    response = ask.placeOrder(drop, token, key, 'retry-order');
  }
  if (response.status !== 201) return null;
  const order = response.json();
  if (chance(SHARE.retries)) {
    pause(RETRY_S, pace);
    expectReplay(ask.placeOrder(drop, token, key, 'retry-order'), order.id);
  }
  return order;
}

const isPassing = ({ status }) => status === 0 || status === 429 || status === 503;

/** What a shopper may do with an order. */
function afterwards(drop, { token, key }, order, pace) {
  if (chance(SHARE.greedy)) {
    const more = ask.placeOrder(drop, token, `${key}-more`);
    if (drop.limit_per_user === order.quantity && more.status < 500 && !isPassing(more)) {
      expect(more, 'nobody gets more than the limit', (answer) => answer.status === 403 || codeOf(answer) === 'sale-not-active');
    }
  }
  if (chance(SHARE.looks)) {
    pause(DECIDE_S, pace);
    expectListed(token, order.id);
  }
  if (drop.cancellable_for_s > 0 && chance(SHARE.cancels)) {
    pause(DECIDE_S, pace);
    cancel(drop, token, key, order.id);
  }
}

function expectListed(token, id) {
  const list = ask.myOrders(token);
  if (list.status === 200) {
    expect(list, 'a confirmed order is among my orders', (answer) => answer.json('items').some((order) => order.id === id));
  }
  const one = ask.order(id, token);
  if (one.status === 200) expect(one, 'a confirmed order can be read', (answer) => answer.json('id') === id);
}

/** Cancels; the order's key then answers with the cancelled order, and grants no new one. */
function cancel(drop, token, key, id) {
  const response = ask.cancelOrder(id, token);
  if (response.status !== 200) return;
  expect(response, 'a cancelled order says so', (answer) => answer.json('status') === 'cancelled');
  const replay = ask.placeOrder(drop, token, key, 'retry-order');
  if (!expectReplay(replay, id)) return;
  expect(replay, 'a cancelled order stays cancelled', (answer) => answer.json('status') === 'cancelled');
}

/** Whether an order that was sent again is the first one; no answer, or a 503, says nothing. */
function expectReplay(response, id) {
  if (response.status >= 500 || isPassing(response)) return false;
  return (
    expectSame(response, id) &&
    expect(response, 'a replay says that it is one', (answer) => answer.headers['Idempotent-Replayed'] === 'true')
  );
}

function expectSame(response, id) {
  return expect(response, 'one key is one order', (answer) => answer.status === 201 && answer.json('id') === id);
}
