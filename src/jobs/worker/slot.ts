/**
 * @file A job in hand: its lock, its child, and who wants it to stop.
 */
import type { Child } from './child.ts';
import { monotonic } from './lease.ts';
import type { JobReport } from './report.ts';
import type { TakenJob } from './slot-worker.ts';
import type { StopReason } from './verdict.ts';

/** How a job left its slot. */
export interface SlotEnd {
  type: 'completed' | 'failed' | 'retried' | 'handed back' | 'waiting';
  /** For a person. */
  text: string;
}

/** See the file's comment. */
export class Slot {
  readonly taken: TakenJob;
  readonly report: JobReport;
  readonly began = performance.now();
  /** How it ended. */
  end: SlotEnd | undefined;
  /** True once the job was moved by us: what its lock does is no concern any more. */
  released = false;
  /** The request by which it is cancelled, as it lies in Redis. */
  cancelled: string | undefined;
  #until: number;
  #child: Child | undefined;
  #stop: StopReason | undefined;
  #killer: NodeJS.Timeout | undefined;

  constructor(taken: TakenJob, report: JobReport) {
    this.taken = taken;
    this.report = report;
    this.#until = taken.until;
  }

  get id(): string {
    return this.taken.job.id ?? '';
  }

  /** End of the lock, milliseconds of the monotonic clock. */
  get until(): number {
    return this.#until;
  }

  /** Why it is to stop, once somebody wants that. */
  get stop(): StopReason | undefined {
    return this.#stop;
  }

  get lapsed(): boolean {
    return monotonic() >= this.#until;
  }

  renewed(until: number): void {
    this.#until = until;
    this.#child?.renew(until);
  }

  /** The child at work on it from now on, or none. */
  assign(child: Child | undefined): void {
    this.#child = child;
    if (!child) clearTimeout(this.#killer);
  }

  /** Asks it to stop; after so many milliseconds its child is killed. A lost lock outranks other reasons. */
  halt(reason: StopReason, grace: number): void {
    if (this.released && reason.type === 'lost') return;
    if (!this.#stop || reason.type === 'lost') this.#stop = reason;
    if (reason.type === 'lost') this.report.end();
    this.#child?.abort(textOf(reason));
    clearTimeout(this.#killer);
    // A child keeps the process alive by itself.
    this.#killer = setTimeout(() => this.#child?.kill(), grace).unref();
  }
}

function textOf(reason: StopReason): string {
  if (reason.type === 'cancelled') return reason.text;
  return reason.type === 'closing' ? 'the worker stops' : 'the lock was lost';
}
