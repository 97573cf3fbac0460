/**
 * @file A last question before a file gets its name: may this process still publish? A worker's child whose lease on a job
 * has lapsed must not, because another process may have the job by now. Everywhere else the answer is yes.
 */

let check: (() => void) | undefined;

/** From now on `assert` is called before every publication; what it throws prevents it. One per process. */
export function guardWrites(assert: () => void): void {
  check = assert;
}

/** To be called just before a file is renamed to its final name, or an object is put where others will see it. */
export function assertMayPublish(): void {
  check?.();
}
