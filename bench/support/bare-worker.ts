/** @file BullMQ alone: `bare-worker.ts SOCKET QUEUE` takes jobs and does nothing, one at a time. */
import { Worker } from 'bullmq';
import { PREFIX } from '../../src/jobs/names.ts';

const [path = '', queue = ''] = process.argv.slice(2);
const worker = new Worker(queue, async () => ({}), {
  connection: { path, maxRetriesPerRequest: null },
  prefix: PREFIX,
  concurrency: 1,
});
await worker.waitUntilReady();
process.stdout.write('ready\n');
