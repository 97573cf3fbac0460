/**
 * @file Which tokens of a block give rows: known from the tokens alone, before any activation is computed. A row is
 * left out if its position is outside `seqpos_slice` or its token is special (SAELens drops the same rows in
 * `_filter_buffer_acts`).
 */
import { UnfoldError } from '../errors.ts';

/** Which positions and tokens give rows. */
export interface RowRule {
  contextSize: number;
  /** Positions that give rows, ascending or in the slice's own order. */
  positions: readonly number[];
  /** Token ids that give none. */
  excluded: ReadonlySet<number>;
}

/**
 * Python's `range(size)[slice(*slice)]`: one number is the stop, two are start and stop, three add the step.
 * @throws UnfoldError `bad-setting` if no position is left or the step is 0
 */
export function slicePositions(slice: readonly (number | null)[], size: number): number[] {
  const [start, stop, step] = slice.length === 1 ? [null, slice[0], null] : slice;
  const by = step ?? 1;
  const positions: number[] = [];
  if (by !== 0) {
    const [low, high] = by > 0 ? [0, size] : [-1, size - 1];
    const place = (value: number) => Math.min(Math.max(value < 0 ? value + size : value, low), high);
    const end = stop == null ? (by > 0 ? size : -1) : place(stop);
    let at = start == null ? (by > 0 ? 0 : size - 1) : place(start);
    for (; by > 0 ? at < end : at > end; at += by) positions.push(at);
  }
  if (positions.length) return positions;
  throw new UnfoldError('bad-setting', {
    where: `seqpos_slice [${slice.join(', ')}]`,
    expected: `at least one position of a context of ${size} tokens, as Python's slice(*seqpos_slice)`,
    found: by === 0 ? 'a step of 0' : 'none',
    todo: 'leave it out for all positions, or [1, null] to leave out the first',
  });
}

/** Indices (context * contextSize + position) of the tokens that give rows, in that order. */
export function rowsOf(tokens: Int32Array, { contextSize, positions, excluded }: RowRule): Int32Array {
  const contexts = tokens.length / contextSize;
  const rows = new Int32Array(contexts * positions.length);
  let count = 0;
  for (let start = 0; start < tokens.length; start += contextSize) {
    for (const position of positions) {
      if (!excluded.has(tokens[start + position]!)) rows[count++] = start + position;
    }
  }
  return rows.subarray(0, count);
}
