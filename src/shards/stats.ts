/**
 * @file Statistics of a hook's rows, taken from the float32 values in one pass: what activation normalisation and
 * whitening need later (mean norm; per dimension sum and sum of squares), and what finds a number that must not be
 * stored, since one NaN or infinity in a row makes its squared norm not finite.
 */
import type { HookWidth } from './block-source.ts';
import { HALF_OVERFLOW } from './float16.ts';

/** Sums over rows of one hook, in float64. */
export interface HookStats {
  rows: number;
  /** Sum over rows of the Euclidean norm. */
  norm_sum: number;
  /** Sum of the rows, [width]. */
  sum: Float64Array;
  /** Sum of the squared rows, entry by entry, [width]. */
  sum_squares: Float64Array;
}

/** A number that cannot be stored: where it stands in the block. */
export interface BadValue {
  row: number;
  dimension: number;
  value: number;
}

/** Zero rows of each hook. */
export function emptyStats(hooks: readonly HookWidth[]): Map<string, HookStats> {
  return new Map(
    hooks.map(({ name, width }) => [
      name,
      { rows: 0, norm_sum: 0, sum: new Float64Array(width), sum_squares: new Float64Array(width) },
    ]),
  );
}

/**
 * Adds rows [rows, width] to the sums.
 * @returns the first value that is not finite, or with `limit` not below it in magnitude; nothing if all are sound
 */
export function addRows(
  stats: HookStats,
  values: Float32Array,
  rows: number,
  limit?: number,
): BadValue | undefined {
  const width = stats.sum.length;
  for (let row = 0; row < rows; row++) {
    const square = addRow(stats, values, row * width, width);
    stats.norm_sum += Math.sqrt(square);
    // A row's norm bounds its entries, so the entries are looked at one by one only in the rarest rows.
    if (limit === undefined ? square < Number.POSITIVE_INFINITY : square < limit * limit) continue;
    const bad = findBad(values, row, width, limit ?? Number.POSITIVE_INFINITY);
    if (bad) return bad;
  }
  stats.rows += rows;
  return undefined;
}

/** The limit for a column of this type: float16 overflows where float32 does not. */
export const storageLimit = (dtype: 'float16' | 'float32'): number | undefined =>
  dtype === 'float16' ? HALF_OVERFLOW : undefined;

/** Mean Euclidean norm of the rows counted so far. */
export const meanNorm = (stats: Pick<HookStats, 'rows' | 'norm_sum'>): number => stats.norm_sum / stats.rows;

/** Adds the row that starts at `at`; returns its squared norm. */
function addRow({ sum, sum_squares }: HookStats, values: Float32Array, at: number, width: number): number {
  let square = 0;
  for (let j = 0; j < width; j++) {
    const value = values[at + j]!;
    const squared = value * value;
    sum[j] = sum[j]! + value;
    sum_squares[j] = sum_squares[j]! + squared;
    square += squared;
  }
  return square;
}

function findBad(values: Float32Array, row: number, width: number, limit: number): BadValue | undefined {
  for (let dimension = 0; dimension < width; dimension++) {
    const value = values[row * width + dimension]!;
    if (!(Math.abs(value) < limit)) return { row, dimension, value };
  }
  return undefined;
}
