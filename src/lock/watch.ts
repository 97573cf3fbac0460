/**
 * @file Whether a holder that cannot be looked up is alive: its heartbeat counter moves, or it has not moved while this
 * process watched for long enough, by its own monotonic clock. What was seen is remembered between calls, so a job that
 * comes back every few seconds goes on watching. The time between two looks counts only up to a few seconds: a watcher
 * that was itself stopped, or waited for a file server, has not been watching.
 */
import type { Look } from './holder.ts';

const LONGEST_GAP_MS = 5_000;

interface Watched {
  text: string;
  moved: boolean;
  /** Milliseconds without a change while we looked. */
  still: number;
  last: number;
}

const watched = new Map<string, Watched>();

/** What has been seen of a lock file so far. */
export interface Sight {
  /** Its counter moved since it was first looked at: the holder lives. */
  moved: boolean;
  still: number;
}

/** Looks at the file at `path` once more. */
export function watch(path: string, { text }: Look, now = performance.now()): Sight {
  const before = watched.get(path);
  const isSame = before !== undefined && identity(before.text) === identity(text);
  const hasMoved = isSame && before.text !== text;
  const still = isSame && !hasMoved ? before.still + Math.min(now - before.last, LONGEST_GAP_MS) : 0;
  const sight = { text, moved: hasMoved, still, last: now };
  watched.set(path, sight);
  return sight;
}

/** Forgets a file that is ours now, or gone. */
export function forget(path: string): void {
  watched.delete(path);
}

/** Which lock a text is of, whatever its counter says. Holder of no token: the text itself. */
export function identity(text: string): string {
  return /"token":"(\w+)"/.exec(text)?.[1] ?? text;
}
