/**
 * @file What a worker and its child process say to one another over Node's IPC. The worker holds the job and its lock in
 * Redis; the child computes and knows neither. So a busy child never keeps a lock from being renewed, and a child that
 * dies takes nothing with it but the unit in hand.
 */
import type { Lesson } from '../errors.ts';
import type { JobMessage } from './message.ts';
import type { JobProgress } from './progress.ts';
import type { Roots } from './roots.ts';

/**
 * Worker → child. The lease comes by a pipe of its own (file descriptor {@link LEASE_PIPE}), which a thread of the child
 * reads however busy the child is: lines `SEQUENCE UNTIL`.
 */
export type ToChild =
  /**
   * Work on this. The job is this child's until `lease`, in microseconds of the machine's monotonic clock (process.hrtime,
   * the same for all its processes), or as long as the pipe says later for this `sequence`.
   */
  | {
      type: 'run';
      id: string;
      message: JobMessage;
      sequence: number;
      lease: number;
      scratch: string;
      roots: Roots;
    }
  /** Stop after the unit in hand, with a checkpoint. */
  | { type: 'abort'; reason: string };

/** See {@link ToChild}. */
export const LEASE_PIPE = 4;

/** Child → worker. */
export type FromChild =
  /** The backend is open. */
  | { type: 'ready'; backend: string; why: string }
  | { type: 'progress'; progress: JobProgress }
  | { type: 'log'; level: 'note' | 'warn'; text: string }
  | { type: 'outcome'; outcome: JobOutcome; leaked_tensors: number }
  | { type: 'failure'; failure: JobFailure };

/** How a job ended that did not fail. */
export type JobOutcome =
  /** All is done; numbers and relative paths. `skipped`: it was done before. */
  | { type: 'done'; result: Record<string, unknown>; skipped: boolean }
  /** These have to be done first, by anybody; then the same message with `phase: 'join'`. */
  | { type: 'split'; parts: JobMessage[] };

/** An error on its way through JSON. */
export interface JobFailure {
  /** An UnfoldError's kind; `stopped` after an abort; `internal` for any other error. */
  kind: string;
  message: string;
  lesson?: Omit<Lesson, 'cause'>;
  stack?: string;
}
