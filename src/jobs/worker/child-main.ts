/**
 * @file The process that computes: opens a backend once, then does one job after another as its worker says. It holds
 * nothing in Redis and leaves the moment its worker is gone. Signals are the worker's business: Ctrl-C reaches both, and it
 * is the worker that lets the job finish its unit.
 */
import { UnfoldError } from '../../errors.ts';
import { explain } from '../../explain.ts';
import { shownText } from '../../shown-url.ts';
import { type BackendName, useBackend } from '../../tensor/backend.ts';
import * as tf from '../../tensor/tf.ts';
import { guardWrites } from '../../write-guard.ts';
import { executeJob } from '../execute.ts';
import { jobContext } from '../progress-context.ts';
import type { FromChild, JobFailure, ToChild } from '../protocol.ts';
import { Lease } from './lease.ts';
import { startWatchdog } from './watchdog.ts';

type Run = Extract<ToChild, { type: 'run' }>;

const lease = new Lease();
let stopper: AbortController | undefined;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => {
  if (!stopper) process.exit(0);
  stop('its worker is gone');
});
process.on('message', (message: ToChild) => {
  if (message.type === 'abort') stop(message.reason);
  else void run(message);
});
startWatchdog(lease.cells);
guardWrites(() => lease.assert());
await open(process.argv[2] as BackendName | 'auto');

async function open(backend: BackendName | 'auto'): Promise<void> {
  try {
    const { name, why } = await useBackend(backend);
    send({ type: 'ready', backend: name, why });
  } catch (error) {
    send({ type: 'failure', failure: describe(error) }, () => process.exit(1));
  }
}

async function run({ message, sequence, lease: until, scratch, roots }: Run): Promise<void> {
  stopper = new AbortController();
  const { signal } = stopper;
  lease.begin(sequence, until);
  const look = setInterval(() => {
    if (lease.ending) stop('the lock was not renewed in time');
  }, 50);
  const tensors = tf.memory().numTensors;
  const answer = await executeJob(message, { scratch, roots }, jobContext(tell, signal)).then(
    (outcome): FromChild => ({ type: 'outcome', outcome, leaked_tensors: tf.memory().numTensors - tensors }),
    (error: unknown): FromChild => ({ type: 'failure', failure: describe(error, signal) }),
  );
  clearInterval(look);
  const over = lease.ending || !process.connected;
  lease.end();
  stopper = undefined;
  // A worker that does not renew the lock may be asleep: this process is in nobody's way when others do the job.
  if (over) leave(answer);
  else send(answer);
}

function stop(reason: string): void {
  stopper?.abort(
    new UnfoldError('stopped', {
      where: 'a job',
      expected: 'to run to its end',
      found: reason,
      todo: 'nothing is lost: it goes on from its last checkpoint when it is begun again',
    }),
  );
}

/** Says it to a worker that may not listen. */
function leave(answer: FromChild): void {
  send(answer, () => process.exit(0));
  setTimeout(() => process.exit(0), 1000);
}

/** What a job says while it runs. */
function tell(message: FromChild): void {
  const memory = { rss_bytes: process.memoryUsage.rss() };
  send(message.type === 'progress' ? { ...message, progress: { ...message.progress, memory } } : message);
}

function send(message: FromChild, done: () => void = () => {}): void {
  if (process.connected) process.send?.(message, undefined, undefined, done);
  else done();
}

function describe(thrown: unknown, signal?: AbortSignal): JobFailure {
  const error = explain(thrown);
  if (error instanceof UnfoldError) {
    const { cause: _, ...lesson } = error.lesson;
    return { kind: error.kind, message: error.message, lesson };
  }
  // Stopped work may end with any error: a stream that was cut off, a lock given back.
  if (signal?.aborted) return { kind: 'stopped', message: String(signal.reason?.message ?? signal.reason) };
  if (!(error instanceof Error)) return { kind: 'internal', message: shownText(String(error)) };
  const { message, stack } = error;
  return { kind: 'internal', message: shownText(message), stack: stack && shownText(stack) };
}
