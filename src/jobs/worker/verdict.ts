/**
 * @file What becomes of a job that did not end well. The user's to mend: failed, not tried again. Somebody else at the same
 * files: again in some seconds. A full disk, a network that was away, a process that died, a fault of ours: again, with a
 * growing pause, as often as the job says. Stopped: it depends on who stopped it.
 */
import type { JobFailure } from '../protocol.ts';

/** Why a job in hand is to stop. */
export type StopReason =
  | { type: 'cancelled'; text: string }
  /** The worker takes its leave. */
  | { type: 'closing' }
  /** The lock is lost: somebody else may have the job. */
  | { type: 'lost' };

/** What to do with the job. */
export type Verdict =
  /** Failed for good. */
  | { type: 'fail'; message: string; failure: JobFailure }
  /** Failed, and tried again as often as its options say. */
  | { type: 'retry'; message: string; failure: JobFailure }
  /** Back to the queue in a while; not an attempt. */
  | { type: 'later'; message: string; soon?: true }
  /** Back to the queue at once; not an attempt. */
  | { type: 'hand-back'; message: string }
  /** Nothing: it is not ours. */
  | { type: 'drop'; message: string };

/** UnfoldErrors that may be over by themselves. */
const PASSING = new Set([
  ...['disk-full', 'storage', 'no-network', 'hub-error', 'no-child', 'offline'],
  ...['out-of-memory', 'too-many-files'],
]);

/** Somebody else is at the same files. */
const OCCUPIED = new Set(['locked', 'busy']);

/** Judges what a child reported. */
export function judgeFailure(failure: JobFailure, stop: StopReason | undefined): Verdict {
  const { kind, message } = failure;
  if (stop?.type === 'lost') return LOST;
  if (stop?.type === 'cancelled') return cancelVerdict(stop.text);
  // Nobody here stopped it: its lease was over. Not at once again, lest it go round and round.
  if (kind === 'stopped') return stop ? CLOSING : { type: 'later', message, soon: true };
  if (OCCUPIED.has(kind)) return { type: 'later', message };
  if (failure.lesson && !PASSING.has(kind)) return { type: 'fail', message, failure };
  return { type: 'retry', message, failure };
}

/** Judges a child that died without a word. */
export function judgeDeath(how: string, stop: StopReason | undefined, lapsed: boolean): Verdict {
  if (stop?.type === 'lost') return LOST;
  if (stop?.type === 'cancelled') return cancelVerdict(stop.text);
  if (stop?.type === 'closing') return CLOSING;
  if (lapsed) return { type: 'later', message: 'the lock was not renewed in time', soon: true };
  const message = `the process that computed it ${how}; it goes on from its last checkpoint when it is tried again`;
  return { type: 'retry', message, failure: { kind: 'crash', message } };
}

const LOST: Verdict = { type: 'drop', message: 'its lock was lost: another worker has it' };
const CLOSING: Verdict = { type: 'hand-back', message: 'the worker stops' };

/** Of a job that somebody cancelled: `text` says who. */
export function cancelVerdict(text: string): Verdict {
  return { type: 'fail', message: text, failure: { kind: 'cancelled', message: text } };
}

/** The line of a message that says what happened. */
export function firstLine(message: string): string {
  return /^ {2}found {5}(.*)$/m.exec(message)?.[1] ?? message.split('\n', 1)[0] ?? message;
}
