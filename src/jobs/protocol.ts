/**
 * @file What a worker and its child process say to one another over Node's IPC. The worker holds the job and its lock in
 * Redis; the child computes and knows neither. So a busy child never keeps a lock from being renewed, and a child that
 * dies takes nothing with it but the unit in hand.
 */
import type { Lesson } from '../errors.ts';
import type { JobMessage } from './message.ts';
import type { JobProgress } from './progress.ts';

/** Worker → child. */
export type ToChild =
  /** Work on this. `lease` as below. */
  | { type: 'run'; id: string; message: JobMessage; lease: number; scratch: string }
  /** The lock was renewed: the job is this child's for so many milliseconds from now on (by the child's own clock). */
  | { type: 'lease'; milliseconds: number }
  /** Stop after the unit in hand, with a checkpoint. */
  | { type: 'abort'; reason: string };

/** Child → worker. */
export type FromChild =
  | { type: 'ready' }
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
