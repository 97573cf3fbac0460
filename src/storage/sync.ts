/**
 * @file Copies between a local folder and a store, either way. A copy can be stopped at any moment and done again: what is
 * there already, by name, size and SHA-256, is not copied again.
 */
import type { ProgressBar, StageContext } from '../context.ts';
import type { SyncRecord } from './record.ts';

export { pull } from './pull.ts';
export { push } from './push.ts';

/** How to copy. */
export interface SyncOptions {
  /** Only these, by name below the folder. */
  want?(name: string): boolean;
  /** Of the bar; `pull` or `push`. */
  label?: string;
  /** Saves hashing where it knows. */
  record?: SyncRecord;
}

/** What was copied. */
export interface Copied {
  /** Files that are there now, those that were there before included. */
  files: number;
  bytes: number;
  /** Of these, the ones copied now. */
  copied_files: number;
  copied_bytes: number;
  /** Symbolic links and other things that are no files. */
  left_out: string[];
}

interface Sized {
  bytes: number;
}

/** Counts a copy and shows it as a bar in bytes; none if there is nothing to do. */
export class Tally {
  leftOut: string[] = [];
  readonly #there: readonly Sized[];
  readonly #missing: readonly Sized[];
  readonly #bar: ProgressBar | undefined;
  #bytes = 0;

  constructor(label: string, there: readonly Sized[], missing: readonly Sized[], context: StageContext) {
    this.#there = there;
    this.#missing = missing;
    if (missing.length > 0) this.#bar = context.bar(label, sum(missing), 'bytes');
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    this.#bar?.update(this.#bytes);
  }

  end(): void {
    this.#bar?.finish();
  }

  result(): Copied {
    return {
      files: this.#there.length + this.#missing.length,
      bytes: sum(this.#there) + sum(this.#missing),
      copied_files: this.#missing.length,
      copied_bytes: sum(this.#missing),
      left_out: this.leftOut,
    };
  }
}

function sum(files: readonly Sized[]): number {
  return files.reduce((total, { bytes }) => total + bytes, 0);
}
