// What a run prints at its end, and writes to SUMMARY.

import { OUTCOMES } from './api.js';
import { REQUESTS } from './options.js';
import { SUMMARY } from './settings.js';

const COLUMNS = ['count', 'avg', 'med', 'p(95)', 'p(99)', 'max'];

/** k6's `handleSummary` of the script with this name. */
export function summarise(title) {
  return (data) => {
    const files = { stdout: text(title, data) };
    if (SUMMARY) files[SUMMARY] = JSON.stringify(data, null, 2);
    return files;
  };
}

function text(title, data) {
  const metrics = data.metrics;
  const setup = data.setup_data;
  const lines = [
    '',
    `== ${title}${setup ? `, drop ${setup.drop.id}` : ''}: ${Math.round(data.state.testRunDurationMs / 1000)} s, ${requests(metrics)} ==`,
    row(['milliseconds', ...COLUMNS]),
  ];
  for (const tag of timed(metrics)) {
    const { values } = metrics[`http_req_duration{${tag}}`];
    const cells = COLUMNS.map((column) => values[column].toFixed(column === 'count' ? 0 : 1));
    lines.push(row([tag.replace(/^name:/, ''), ...cells]));
  }
  const outcomes = OUTCOMES.map((outcome) => [outcome, value(metrics, `orders{outcome:${outcome}}`, 'count')]);
  const seen = outcomes.filter(([, count]) => count > 0).map(([outcome, count]) => `${count} ${outcome}`);
  if (seen.length > 0) lines.push(`orders    ${seen.join(', ')}`);
  const limited = value(metrics, 'rate_limited', 'count');
  if (limited > 0) lines.push(`limited   ${limited} answers are 429: the service limits this machine or its shoppers`);
  const dropped = value(metrics, 'dropped_iterations', 'count');
  if (dropped > 0) lines.push(`dropped   ${dropped} arrivals, for lack of virtual users: more was asked for than k6 could send`);
  lines.push(stock(metrics, setup), verdict(metrics), '');
  return lines.join('\n');
}

/** The tags that requests were timed by: names in the order of a visit, then the others. */
function timed(metrics) {
  const known = REQUESTS.map((name) => `name:${name}`);
  const found = Object.keys(metrics).map((name) => /^http_req_duration\{(.*)\}$/.exec(name));
  const others = found.filter((tag) => tag && !known.includes(tag[1]) && tag[1] !== 'expected_response:true');
  const tags = known.concat(others.map((tag) => tag[1]).sort());
  return tags.filter((tag) => value(metrics, `http_req_duration{${tag}}`, 'count') > 0);
}

const row = ([first, ...rest]) => first.padEnd(34) + rest.map((cell) => cell.padStart(9)).join('');

/** A value of a metric; 0 if nothing was counted. */
const value = (metrics, name, key) => (metrics[name] && metrics[name].values[key]) || 0;

function requests(metrics) {
  return `${value(metrics, 'http_reqs', 'count')} requests, ${Math.round(value(metrics, 'http_reqs', 'rate'))} a second`;
}

function stock(metrics, setup) {
  if (!metrics.stock_total_units || !setup) return 'stock     was not read at the end';
  const units = (name) => value(metrics, `stock_${name}_units`, 'value');
  const orders = metrics.orders_counted ? `, ${value(metrics, 'orders_counted', 'value')} orders counted` : '';
  const figures = `${units('total')} units: ${units('available')} available, ${units('held')} held, ${units('sold')} sold`;
  const right = value(metrics, 'oversell_check', 'rate') === 1;
  return `stock     ${figures} (${setup.before.sold} before)${orders}: ${right ? 'no oversell' : 'WRONG, see above'}`;
}

function verdict(metrics) {
  const failed = [];
  for (const [name, metric] of Object.entries(metrics)) {
    for (const [source, { ok }] of Object.entries(metric.thresholds || {})) if (!ok) failed.push(`${name}: ${source}`);
  }
  return failed.length === 0 ? 'verdict   every threshold holds' : `verdict   FAILED\n          ${failed.join('\n          ')}`;
}
