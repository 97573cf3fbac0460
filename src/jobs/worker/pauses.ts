/** @file How long a job is put off whose files somebody else is at: longer and longer, by chance a little more or less. */

/** Milliseconds at most. */
const LONGEST = 60_000;

/** See the file's comment. */
export class Pauses {
  readonly #first: number;
  /** How often each job was put off in a row. */
  readonly #times = new Map<string, number>();

  /** `first` in milliseconds. */
  constructor(first: number) {
    this.#first = first;
  }

  /** Milliseconds until the job is to be tried again. */
  next(id: string): number {
    const times = this.#times.get(id) ?? 0;
    this.#times.set(id, times + 1);
    return Math.round(Math.min(LONGEST, this.#first * 2 ** times) * (0.75 + 0.5 * Math.random()));
  }

  /** The job was not put off this time. */
  forget(id: string): void {
    this.#times.delete(id);
  }
}
