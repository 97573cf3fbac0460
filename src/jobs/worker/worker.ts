/**
 * @file `unfold worker`: takes jobs from all queues that it serves, as many at a time as it has slots, and sees each to an
 * end that loses nothing: done, failed with a reason, tried again, or handed back with a checkpoint.
 *
 * The engine is BullMQ's (locks, retries, flows). Ours are the slots over all queues, the child processes that compute
 * while this process renews their locks, and the leases that keep two of them from being at one job (lease.ts).
 */
import type { StageContext } from '../../context.ts';
import type { WorkerRecord } from '../names.ts';
import { openQueue, type QueueConnection } from '../redis/open.ts';
import { JobWorker } from './job-worker.ts';
import { type WorkerOptions, type WorkerSummary, workerSettings } from './options.ts';

export type { WorkerOptions, WorkerSummary } from './options.ts';

/** A worker at work. */
export interface RunningWorker {
  readonly id: string;
  /** Where its queue is, without passwords. */
  readonly queue: string;
  /** The backend of its children. */
  readonly backend: string;
  readonly connection: QueueConnection;
  /** What it says of itself to watchers. */
  record(): Omit<WorkerRecord, 'seen' | 'started'>;
  /** Hands back what is in hand, within the deadline, and ends. */
  close(): Promise<void>;
  /** Settles when it has ended. Rejects if it could not go on. */
  readonly closed: Promise<void>;
  summary(): WorkerSummary;
}

/**
 * Starts a worker; resolves when it is at work. Aborting the context's signal closes it.
 * @throws UnfoldError `bad-setting`, `no-backend` if no child can compute here, and those of openQueue
 */
export async function startWorker(options: WorkerOptions, context: StageContext): Promise<RunningWorker> {
  const settings = workerSettings(options);
  const connection = await openQueue(settings.queue, context);
  const worker = new JobWorker(settings, connection, context);
  try {
    await worker.begin();
    return worker;
  } catch (error) {
    await worker.abandon();
    throw error;
  }
}
