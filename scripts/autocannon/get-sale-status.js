// The status of the sale, as often as the connections allow.

import { SKU } from '../../k6/lib/settings.js';
import { run } from './lib/run.js';

await run('get-sale-status', () => ({ method: 'GET', path: `/api/v1/products/${encodeURIComponent(SKU)}/sale-status` }));
