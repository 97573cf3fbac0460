/**
 * @file The thread in a worker's child that ends the child when it must not go on: when its lease on the job has lapsed, or
 * soon after its worker has died. A thread, because the child's main one may compute for long without looking up.
 *
 * It hears of renewals by a pipe from the worker (see protocol.ts), and keeps them in memory that the main thread reads
 * before it publishes anything. Plain JavaScript in a string: threads of Node 20 do not go through a loader of TypeScript.
 */
import { Worker } from 'node:worker_threads';
import { LEASE_PIPE } from '../protocol.ts';

/** Cells of the shared memory: end of the lease in microseconds of process.hrtime, and the job's number; 0 without job. */
export const UNTIL = 0;
export const SEQUENCE = 1;

/** Milliseconds that a child has for its checkpoint once its worker is dead, within the lease. */
const ORPHAN_GRACE = 3000;

const CODE = `
const { workerData: cells } = require('node:worker_threads');
const { Socket } = require('node:net');
const now = () => process.hrtime.bigint() / 1000n;
const die = () => process.kill(process.pid, 'SIGKILL');
let rest = '';
const pipe = new Socket({ fd: ${LEASE_PIPE}, readable: true, writable: false });
pipe.on('data', (bytes) => {
  const lines = (rest + bytes).split('\\n');
  rest = lines.pop();
  for (const line of lines) {
    const [sequence, until] = line.split(' ').map(BigInt);
    if (sequence !== Atomics.load(cells, ${SEQUENCE})) continue;
    if (until > Atomics.load(cells, ${UNTIL})) Atomics.store(cells, ${UNTIL}, until);
  }
});
pipe.on('error', () => {});
pipe.on('close', () => setTimeout(die, ${ORPHAN_GRACE}));
setInterval(() => {
  if (Atomics.load(cells, ${SEQUENCE}) !== 0n && now() > Atomics.load(cells, ${UNTIL})) die();
}, 50);
`;

/** Starts the thread; it does not keep the process alive. */
export function startWatchdog(cells: BigInt64Array): void {
  new Worker(CODE, { eval: true, workerData: cells, execArgv: [] }).unref();
}
