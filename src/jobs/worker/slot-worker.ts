/**
 * @file BullMQ's worker of one queue, driven from outside: it takes a job when a slot is free and runs no loop of its own,
 * so that one number of slots holds over all queues. Everything that moves jobs is BullMQ's.
 */
import { type Job, type LockManagerWorkerContext, Worker } from 'bullmq';
import type { QueueConnection } from '../redis/open.ts';
import { monotonic } from './lease.ts';
import { LockKeeper, type LockNews } from './lock-keeper.ts';
import type { QueueClock } from './queue-clock.ts';
import { refuseHeldBy } from './refuse.ts';
import { malformed, mendOptions } from './well-formed.ts';

/** A job with the lock on it. */
export interface TakenJob {
  worker: SlotWorker;
  job: Job;
  token: string;
  /** End of the lock, milliseconds of the monotonic clock. */
  until: number;
}

/** What a worker of a queue is like. */
export interface SlotWorkerOptions {
  connection: QueueConnection;
  /** The worker's id, for people. */
  name: string;
  clock: QueueClock;
  lockMilliseconds: number;
  /** Does a job; what it throws decides what becomes of it (BullMQ's rules). */
  process(job: Job, token: string): Promise<unknown>;
  news: LockNews;
  /** Something went wrong that is not a job's. */
  complain(message: string): void;
  /** A job was taken back from a worker that is lost. */
  recovered(worker: SlotWorker, id: string): void;
}

/** Most often that a job is taken back from lost workers before it counts as what loses them. */
const MAX_STALLED = 10;

/** See the file's comment. */
export class SlotWorker extends Worker {
  readonly #options: SlotWorkerOptions;
  #taken = 0;

  constructor(queue: string, options: SlotWorkerOptions) {
    super(queue, (job, token) => options.process(job, token ?? ''), {
      ...options.connection.bullmq(),
      name: options.name,
      autorun: false,
      lockDuration: options.lockMilliseconds,
      lockRenewTime: options.lockMilliseconds / 4,
      stalledInterval: Math.max(250, Math.min(15_000, options.lockMilliseconds / 2)),
      maxStalledCount: MAX_STALLED,
      runRetryDelay: 1000,
    });
    this.#options = options;
    options.clock.correct(this.backend);
    this.keeper.news = options.news;
    this.on('error', (error) => {
      if (isOurs(error)) options.complain(`queue ${queue}: ${error.message}`);
    });
    this.on('stalled', (id) => options.recovered(this, id));
  }

  get keeper(): LockKeeper {
    return this.lockManager as LockKeeper;
  }

  /** Begins to renew locks, and to look for jobs of lost workers. */
  async begin(): Promise<void> {
    this.keeper.start();
    await this.startStalledCheckTimer();
  }

  /**
   * The next job, if there is one that may be begun. Jobs that cannot be read are failed on the way.
   * @throws Error of Redis
   */
  async take(): Promise<TakenJob | undefined> {
    for (;;) {
      const token = `${this.id}:${this.#taken++}`;
      const until = monotonic() + this.#options.lockMilliseconds;
      let why: string | undefined;
      try {
        const job = await this.getNextJob(token, { block: false });
        if (!job) return undefined;
        why = malformed(job);
        if (why === undefined) {
          mendOptions(job);
          return { worker: this, job, token, until };
        }
      } catch (error) {
        why = (error as Error).message;
        if (/Connection is closed/.test(why)) throw error;
      }
      const id = await refuseHeldBy(this.#options.connection, this.name, token, why);
      if (id === undefined) throw new Error(why);
      this.#options.complain(`queue ${this.name}: refused job ${id}, which cannot be read: ${why}`);
    }
  }

  /** Takes the job through to its end; never rejects for the job's sake. */
  async work({ job, token }: TakenJob): Promise<void> {
    await this.processJob(job, token, () => false);
  }

  /** No connection that blocks: nothing here waits for jobs. */
  protected override createBackend(): void {
    this.backend = this.backendFactory(this.name, this.opts, {});
  }

  protected override createLockManager(): void {
    this.lockManager = new LockKeeper(this as unknown as LockManagerWorkerContext, {
      lockRenewTime: this.opts.lockRenewTime ?? 15_000,
      lockDuration: this.opts.lockDuration ?? 60_000,
      workerId: this.id,
    });
  }
}

/** A lock that was lost is told by the keeper; that the job could then not be moved follows from it. */
function isOurs(error: Error): boolean {
  return !/could not renew lock|Missing lock|Lock mismatch|Missing key|Connection is closed|not in the active state/.test(
    error.message,
  );
}
