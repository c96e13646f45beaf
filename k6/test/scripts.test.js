// Every script succeeds against a sound service, and fails against one that does what must not be. The service is a fake one,
// as no real one oversells when it is asked to.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startFakeApi } from './fake-api.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const K6 = ['sale-status', 'create-order', 'mixed-sale', 'spike', 'soak'];
// Some run at once, so none may have the port of k6's own API.
const K6_OPTIONS = ['--quiet', '--no-usage-report', '--address', '127.0.0.1:0'];
const AUTOCANNON = ['get-sale-status', 'get-product', 'create-order'];
const SECRET = 'a secret that nobody else has, long enough';

/** How a script ends, and what it says. */
async function run(tool, script, wrong, settings = {}) {
  const api = await startFakeApi(wrong);
  const [program, ...args] =
    tool === 'k6' ? ['k6', 'run', ...K6_OPTIONS, `k6/${script}.js`] : ['node', `scripts/autocannon/${script}.js`];
  // What the shell has set is for other runs.
  const { PATH, HOME } = process.env;
  const usual = { API_URL: api.url, SKU: 'cap', RATE: '50', DURATION: '2s', CONNECTIONS: '4', TOKEN_SECRET: SECRET };
  const env = { PATH, HOME, LATENCY_SLACK: '100', ...usual, ...settings };
  const child = spawn(program, args, { cwd: ROOT, env });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
  const code = await new Promise((resolve) => child.on('close', resolve));
  api.close();
  return { code, said };
}

async function succeeds(...what) {
  const { code, said } = await run(...what);
  assert.equal(code, 0, said);
  return said;
}

async function fails(pattern, ...what) {
  const { code, said } = await run(...what);
  assert.notEqual(code, 0, said);
  assert.match(said, pattern);
}

// They mostly wait, so some run at once.
describe('the scripts', { concurrency: 4 }, () => {
  for (const [tool, scripts] of [['k6', K6], ['autocannon', AUTOCANNON]]) {
    for (const script of scripts) {
      test(`${tool} ${script} succeeds where all is well, and fails where a unit is sold twice`, async () => {
        const said = await succeeds(tool, script, 'nothing', { OPERATOR_TOKEN: 'operator' });
        assert.match(said, /\d orders counted/);
        await fails(/oversold: 1000001 sold and 0 held of 1000000/, tool, script, 'oversold');
      });
    }
    test(`${tool} fails where units are nowhere, or orders are missing`, async () => {
      await fails(/unbalanced: /, tool, 'create-order', 'unbalanced');
      await fails(/the stock says that/, tool, 'create-order', 'uncounted', { OPERATOR_TOKEN: 'operator' });
    });
    test(`${tool} fails on answers that are a server's error`, async () => {
      await fails(/server_errors: count==0|500 internal/, tool, 'create-order', 'failing');
    });
  }

  test('autocannon fails where a confirmed order is lost', () => fails(/lost: /, 'autocannon', 'create-order', 'lost'));

  test('k6 fails where a key is granted twice', () => fails(/one key is one order/, 'k6', 'mixed-sale', 'doubled'));

  test('k6 fails where answers are late', () =>
    fails(/get-sale-status\}: p\(95\)<50/, 'k6', 'sale-status', 'slow', { LATENCY_SLACK: '1' }));

  test('shoppers may sign in instead of having tokens', () => succeeds('k6', 'create-order', 'nothing', { TOKEN_SECRET: '' }));

  test('what is set wrongly is said', async () => {
    await fails(/RATE=many: give a number above 0/, 'k6', 'soak', 'nothing', { RATE: 'many' });
    await fails(/DURATION=soon: give a time/, 'autocannon', 'get-product', 'nothing', { DURATION: 'soon' });
    await fails(/nothing answers at/, 'k6', 'spike', 'nothing', { API_URL: 'http://127.0.0.1:1' });
    await fails(/nothing answers at/, 'autocannon', 'get-product', 'nothing', { API_URL: 'http://127.0.0.1:1' });
    await fails(/set TOKEN_SECRET/, 'autocannon', 'create-order', 'nothing', { TOKEN_SECRET: '' });
  });
});
