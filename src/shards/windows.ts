/**
 * @file The order of rows in an epoch, computed from a seed and never stored: blocks in a seeded permutation, cut into
 * windows that fit in memory, rows in a seeded permutation inside each window. Any row's place follows from the seed,
 * the epoch and the window alone, which is what makes a position in the stream a single integer.
 */
import { Random } from '../random.ts';

/** Consecutive blocks of an epoch's order that are in memory together. */
export interface Window {
  epoch: number;
  index: number;
  /** Block indices, in the epoch's order. */
  blocks: readonly number[];
  /** Rows in these blocks. */
  rows: number;
  /** First row of the window, counted from the start of the epoch. */
  start: number;
}

/** Computes windows; remembers the last epoch asked for. */
export class WindowPlan {
  /** Rows in an epoch. */
  readonly rows: number;
  readonly #blockRows: readonly number[];
  readonly #seed: number;
  readonly #windowRows: number;
  #epochs = new Map<number, Window[]>();

  /** @param windowRows a window closes before it would exceed this; one block is always taken */
  constructor(blockRows: readonly number[], seed: number, windowRows: number) {
    this.#blockRows = blockRows;
    this.#seed = seed;
    this.#windowRows = windowRows;
    this.rows = blockRows.reduce((sum, rows) => sum + rows, 0);
  }

  /** The window that holds the row at `position`, counted over all epochs. */
  at(position: number): Window {
    const windows = this.#epoch(Math.floor(position / this.rows));
    const row = position % this.rows;
    let [low, high] = [0, windows.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (windows[middle]!.start <= row) low = middle;
      else high = middle - 1;
    }
    return windows[low]!;
  }

  /** The window after this one, running on into the next epoch. */
  after({ epoch, index }: Window): Window {
    return this.#epoch(epoch)[index + 1] ?? this.#epoch(epoch + 1)[0]!;
  }

  /** [rows] for each place in the window, which row it shows: an index into the rows of its blocks, end to end. */
  order({ epoch, index, rows }: Window): Uint32Array {
    return Random.of(this.#seed, 'shuffle', 'rows', epoch, index).permutation(rows);
  }

  #epoch(epoch: number): Window[] {
    const known = this.#epochs.get(epoch);
    if (known) return known;
    const windows = this.#cut(epoch);
    // Two epochs meet in one batch; older ones are not needed again.
    this.#epochs = new Map([...this.#epochs].filter(([e]) => Math.abs(e - epoch) === 1).slice(-1));
    this.#epochs.set(epoch, windows);
    return windows;
  }

  #cut(epoch: number): Window[] {
    const order = Random.of(this.#seed, 'shuffle', 'blocks', epoch).permutation(this.#blockRows.length);
    const windows: Window[] = [];
    let start = 0;
    let blocks: number[] = [];
    let rows = 0;
    const close = () => {
      if (rows) windows.push({ epoch, index: windows.length, blocks, rows, start });
      start += rows;
      [blocks, rows] = [[], 0];
    };
    for (const block of order) {
      const more = this.#blockRows[block]!;
      if (!more) continue;
      if (rows && rows + more > this.#windowRows) close();
      blocks.push(block);
      rows += more;
    }
    close();
    return windows;
  }
}
