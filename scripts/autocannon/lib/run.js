// One run of autocannon: the load, what came of it, and the check that nothing was sold twice.

import autocannon from 'autocannon';
import { ORIGIN, connections, plan } from '../../../k6/lib/settings.js';
import { findDrop, findFaults } from './drop.js';

/** What an order may be told, by status; a code of a problem, or granted. Everything else fails the run. */
const EXPECTED = new Set(['200', '201 granted', '400 sale-not-active', '403 limit-reached', '409 sold-out', '429 rate-limited']);
const DURATION_S = 10;
const CONNECTIONS = 100;

/** Runs the request that `makeRequest` makes for the drop, prints what was measured, and sets the exit code. */
export async function run(title, makeRequest) {
  try {
    const found = await findDrop();
    const answers = new Map();
    const onResponse = (status, body) => {
      const kind = kindOf(status, body);
      answers.set(kind, (answers.get(kind) ?? 0) + 1);
    };
    const result = await autocannon({
      url: ORIGIN,
      connections: connections(CONNECTIONS),
      duration: Math.round(plan(1, DURATION_S).durationS),
      headers: { Accept: 'application/json' },
      requests: [{ ...makeRequest(found), onResponse }],
    });
    const { faults, told } = await findFaults(found, answers.get('201 granted') ?? 0);
    print(title, found.drop, result, answers, `${told}: ${faults.length === 0 ? 'no oversell' : 'WRONG'}`);
    for (const fault of [...faults, ...failures(result, answers)]) {
      console.error(`FAILED    ${fault}`);
      process.exitCode = 1;
    }
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  }
}

/** An answer's status, and what it says if it is about an order. */
function kindOf(status, body) {
  if (status === 201) return '201 granted';
  const code = status >= 400 && /"code":"([a-z-]+)"/.exec(body);
  return code ? `${status} ${code[1]}` : String(status);
}

function failures({ errors, timeouts }, answers) {
  const wrong = [...answers].filter(([kind]) => !EXPECTED.has(kind)).map(([kind, count]) => `${count} answers are ${kind}`);
  if (errors > 0) wrong.push(`${errors} requests had no answer (${timeouts} of them in time)`);
  if (answers.size === 0) wrong.push('nothing was answered');
  return wrong;
}

function print(title, drop, { requests, latency, duration, connections: count }, answers, stock) {
  const rate = Math.round(requests.total / duration).toLocaleString('en');
  console.log(`\n== ${title}, drop ${drop.id}: ${duration} s, ${count} connections, ${requests.total} requests, ${rate} a second ==`);
  const { p50, p90, p99, max, average } = latency;
  console.log(`latency   ms: p50 ${p50}, p90 ${p90}, p99 ${p99}, max ${max}, mean ${average}`);
  const sorted = [...answers].sort(([, one], [, other]) => other - one);
  console.log(`answers   ${sorted.map(([kind, times]) => `${times} × ${kind}`).join(', ')}`);
  console.log(`stock     ${stock}`);
}
