/** @file Things that are done again and again, and waiting that ends. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Runs `task` every so many milliseconds; not twice at a time, and again when it failed. */
export function every(milliseconds: number, task: () => Promise<void>): NodeJS.Timeout {
  let busy = false;
  return setInterval(() => {
    if (busy) return;
    busy = true;
    void task()
      .catch(() => undefined)
      .finally(() => (busy = false));
  }, milliseconds);
}

/** Waits for a promise, for so many milliseconds at most. */
export async function within(milliseconds: number, promise: Promise<unknown>): Promise<void> {
  const enough = new AbortController();
  await Promise.race([promise, sleep(milliseconds, undefined, { signal: enough.signal }).catch(() => {})]);
  enough.abort();
}
