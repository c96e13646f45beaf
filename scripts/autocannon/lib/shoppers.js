// Shoppers, each with a token and a key that no other has.

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { shopperToken } from '../../../k6/lib/jwt.js';
import { SECRET, TOKENS } from '../../../k6/lib/settings.js';

const HMAC = {
  encode: (text) => Buffer.from(text).toString('base64url'),
  sign: (text) => createHmac('sha256', SECRET.secret).update(text).digest('base64url'),
};

/** A function that makes the next shopper. */
export function shoppers() {
  const run = Date.now().toString(36);
  const token = TOKENS ? fromFile() : signed(run);
  let number = 0;
  return () => {
    number += 1;
    return { token: token(number), key: `${run}-${number}` };
  };
}

function signed(run) {
  if (!SECRET.secret) {
    throw new Error(
      "shoppers need tokens: set TOKEN_SECRET to the deployment's secret (for `stampede dev` it is in .stampede/settings.toml), " +
        'or TOKENS to a file made by `stampede token --shoppers N --out FILE`',
    );
  }
  return (number) => shopperToken(`load_${run}_${number}`, SECRET, HMAC);
}

function fromFile() {
  const tokens = readFileSync(TOKENS, 'utf8').split('\n').filter((line) => line !== '');
  return (number) => {
    if (number > tokens.length) {
      throw new Error(`${TOKENS} has ${tokens.length} tokens, and more shoppers came: make more, or set a shorter DURATION`);
    }
    return tokens[number - 1];
  };
}
