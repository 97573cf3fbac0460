/**
 * @file BullMQ's worker as one would use it at first, for comparison: it computes in its own process. Arguments: path of
 * Redis's socket, queue, milliseconds of a lock, milliseconds for which a job keeps the process busy. Says `ready` and `begun`.
 */
import { Worker } from 'bullmq';

const [path, queue, lock, busy] = process.argv.slice(2);
const worker = new Worker(
  queue,
  async () => {
    process.stdout.write('begun\n');
    // As training does it: the event loop gets no turn, and the lock no renewal.
    for (const end = performance.now() + Number(busy); performance.now() < end; );
  },
  { connection: { path }, lockDuration: Number(lock), stalledInterval: Number(lock) / 2, maxStalledCount: 9 },
);
worker.on('error', () => {});
await worker.waitUntilReady();
process.stdout.write('ready\n');
