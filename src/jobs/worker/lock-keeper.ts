/**
 * @file Renews the locks of the jobs in hand, and says until when each lasts. BullMQ's own keeper goes by the time of day,
 * which is set back now and then; this one goes by the monotonic clock, counts a lock's time from the moment before it was
 * asked for, and never has two renewals under way when Redis is slow to answer.
 */
import { LockManager } from 'bullmq';
import { monotonic } from './lease.ts';

/** Told of renewals. */
export interface LockNews {
  /** The job is ours until then, milliseconds of the monotonic clock. */
  renewed(token: string, until: number): void;
  /** The job has no lock any more, or another's. */
  lost(token: string): void;
}

/** See the file's comment. */
export class LockKeeper extends LockManager {
  news: LockNews | undefined;
  #timer: NodeJS.Timeout | undefined;
  #asking = false;

  override start(): void {
    if (this.closed || this.#timer) return;
    this.#timer = setInterval(() => void this.renew(), this.opts.lockRenewTime);
  }

  override async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await super.close();
  }

  override isRunning(): boolean {
    return this.#timer !== undefined;
  }

  /** Renews all locks now, unless that is under way. */
  async renew(): Promise<void> {
    if (this.#asking || this.trackedJobs.size === 0) return;
    this.#asking = true;
    const sent = monotonic();
    const jobs = [...this.trackedJobs].map(([id, { token }]) => ({ id, token }));
    try {
      const failed = await this.worker.extendJobLocks(
        jobs.map(({ id }) => id),
        jobs.map(({ token }) => token),
        this.opts.lockDuration,
      );
      this.#tell(jobs, new Set(failed), sent + this.opts.lockDuration);
    } catch (error) {
      this.worker.emit('error', error);
    } finally {
      this.#asking = false;
    }
  }

  #tell(jobs: { id: string; token: string }[], failed: ReadonlySet<string>, until: number): void {
    for (const { id, token } of jobs) {
      // Ended while Redis was asked: its lock was given back, not lost.
      if (this.trackedJobs.get(id)?.token !== token) continue;
      if (failed.has(id)) this.news?.lost(token);
      else this.news?.renewed(token, until);
    }
  }
}
