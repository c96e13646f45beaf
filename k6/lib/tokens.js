// Tokens of shoppers, each another one: from a file (TOKENS), signed here (TOKEN_SECRET), or by signing in.

import crypto from 'k6/crypto';
import { SharedArray } from 'k6/data';
import encoding from 'k6/encoding';
import exec from 'k6/execution';
import { ask } from './api.js';
import { shopperToken } from './jwt.js';
import { SECRET, TOKENS } from './settings.js';

// All virtual users read the one copy.
const FILE = TOKENS && new SharedArray('tokens', () => open(TOKENS).split('\n').filter((line) => line !== ''));

const HMAC = {
  encode: (text) => encoding.b64encode(text, 'rawurl'),
  sign: (text) => crypto.hmac('sha256', SECRET.secret, text, 'base64rawurl'),
};

/** More shoppers may come than the rates say: k6 rounds as it goes. */
const MORE = 10;

/** Refuses a file of too few tokens before the load starts. */
export function expectShoppers(count) {
  const needed = Math.ceil(count) + MORE;
  if (FILE && FILE.length < needed) {
    throw new Error(
      `${TOKENS} has ${FILE.length} tokens, and up to ${needed} shoppers come: ` +
        `make more by \`stampede token --shoppers ${needed} --out FILE\`, or lower RATE or DURATION`,
    );
  }
}

/** How shoppers get their tokens; tried out once, before the load. */
export function tokenSource() {
  if (FILE) return 'file';
  if (SECRET.secret) return 'secret';
  const probe = ask.signIn(null);
  if (probe.status === 201) return 'anonymous';
  if (probe.status === 422) return 'handle';
  throw new Error(
    `POST /sessions says ${probe.status}: shoppers cannot sign in here. Set TOKEN_SECRET to the deployment's secret, ` +
      'or TOKENS to the path of a file made by `stampede token --shoppers N --out FILE`',
  );
}

/** The token of the shopper with this number, from 0; null if signing in failed. */
export function tokenOf(number, { run, tokens }) {
  if (tokens === 'file') {
    if (number >= FILE.length) exec.test.abort(`more shoppers came than ${TOKENS} has tokens: ${FILE.length}`);
    return FILE[number];
  }
  // A handle may have no hyphen.
  const subject = `load_${run}_${number}`;
  if (tokens === 'secret') return shopperToken(subject, SECRET, HMAC);
  const response = ask.signIn(tokens === 'handle' ? subject : null);
  return response.status === 201 ? response.json('token') : null;
}
