// The settings of a run, from the environment: NAME=VALUE k6 run …, or k6 run -e NAME=VALUE …
// The scripts for autocannon, which run on Node.js, have the same.

const ENV = typeof __ENV === 'undefined' ? process.env : __ENV;

// What is empty counts as not set, as in a compose file.
const env = (name, fallback) => ENV[name] || fallback;

/** The origin of the API, without /api/v1. */
export const ORIGIN = env('API_URL', 'http://127.0.0.1:4000').replace(/\/+$/, '');
/** What is sold. The drop is the one that its sale-status names. */
export const SKU = env('SKU', 'demo-sneaker');
/** An operator's token, to count orders; empty if there is none. */
export const OPERATOR_TOKEN = env('OPERATOR_TOKEN', '');
/** Where the summary goes as JSON; empty: nowhere. */
export const SUMMARY = env('SUMMARY', '');
/** Every latency threshold is multiplied by this. */
export const LATENCY_SLACK = number('LATENCY_SLACK', 1);
/** The most orders that are counted at the end. */
export const ORDERS_MAX = number('ORDERS_MAX', 20000);

/** How tokens are made; see tokens.js. */
export const TOKENS = env('TOKENS', '');
export const SECRET = {
  secret: env('TOKEN_SECRET', ''),
  kid: env('TOKEN_KID', 'main'),
  issuer: env('TOKEN_ISSUER', 'stampede'),
  audience: env('TOKEN_AUDIENCE', 'stampede'),
};

/**
 * How much a script sends, and for how long: RATE (arrivals a second at the peak) and DURATION (all of it).
 * `pace` is below 1, and shortens what shoppers wait, in a run that is shorter than `fullPaceS`.
 */
export function plan(rate, durationS, fullPaceS = durationS) {
  const duration = seconds('DURATION', durationS);
  return { rate: number('RATE', rate), durationS: duration, pace: Math.min(1, duration / fullPaceS) };
}

/** How many connections autocannon keeps busy. */
export const connections = (fallback) => Math.round(number('CONNECTIONS', fallback));

function number(name, fallback) {
  const value = Number(env(name, fallback));
  if (!(value > 0)) throw new Error(`${name}=${ENV[name]}: give a number above 0, such as ${fallback}`);
  return value;
}

function seconds(name, fallback) {
  const found = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(env(name, `${fallback}s`));
  const value = found && Number(found[1]) * { s: 1, m: 60, h: 3600 }[found[2] || 's'];
  if (!(value >= 1)) throw new Error(`${name}=${ENV[name]}: give a time of at least a second, such as 90s, 10m or 2h`);
  return value;
}
