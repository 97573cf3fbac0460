/**
 * @file From the shuffle's rows to a step's batch: several hooks stand side by side, rows are scaled, and every number is
 * looked at once: a NaN or infinity is found before it can reach a parameter, and named by row.
 */
import type { Normalization } from '../coders/config.ts';
import { normalizeRows } from '../coders/rows.ts';
import { UnfoldError } from '../errors.ts';
import type { RowBatch, RowStream } from '../shards/shuffle.ts';
import * as tf from '../tensor/tf.ts';
import { geometricMedian, meanRow } from './initialise.ts';

/** Rows ready for a step. */
export interface PreparedRows {
  /** [rows, width], scaled; the same array at every call. */
  values: Float32Array;
  /** Σ over rows, [width], and Σ ||row||², both scaled: what explained variance is measured against. */
  sum: Float64Array;
  squares: number;
}

/** Prepares batches of `rows` rows of the named hooks. */
export class RowPreparer {
  readonly width: number;
  readonly #hooks: readonly { name: string; width: number }[];
  readonly #prepared: PreparedRows;

  constructor(stream: Pick<RowStream, 'hooks'>, hookNames: readonly string[], rows: number) {
    this.#hooks = hookNames.map((name) => stream.hooks.find((hook) => hook.name === name)!);
    this.width = this.#hooks.reduce((sum, hook) => sum + hook.width, 0);
    const values = new Float32Array(rows * this.width);
    this.#prepared = { values, sum: new Float64Array(this.width), squares: 0 };
  }

  /**
   * Scales the rows of `batch`.
   * @throws UnfoldError `not-finite` naming the step and the rows (context and position) that hold NaN or infinity
   */
  prepare(batch: RowBatch, scale: number, step: number): PreparedRows {
    const prepared = this.#prepared;
    prepared.sum.fill(0);
    prepared.squares = 0;
    let offset = 0;
    for (const { name, width } of this.#hooks) {
      prepared.squares += this.#copy(batch.activations.get(name)!, width, offset, scale);
      offset += width;
    }
    if (!Number.isFinite(prepared.squares)) throw this.#unsound(batch, step);
    return prepared;
  }

  #copy(source: Float32Array, width: number, offset: number, scale: number): number {
    const { values, sum } = this.#prepared;
    const stride = this.width;
    let squares = 0;
    for (let from = 0, to = offset; from < source.length; from += width, to += stride) {
      for (let j = 0; j < width; j++) {
        const value = source[from + j]! * scale;
        values[to + j] = value;
        sum[offset + j] = sum[offset + j]! + value;
        squares += value * value;
      }
    }
    return squares;
  }

  #unsound(batch: RowBatch, step: number): UnfoldError {
    const rows: string[] = [];
    let hook = '';
    for (const { name, width } of this.#hooks) {
      const values = batch.activations.get(name)!;
      for (let row = 0; row < batch.rows && rows.length < 5; row++) {
        const bad = values.subarray(row * width, (row + 1) * width).find((value) => !Number.isFinite(value));
        if (bad === undefined) continue;
        hook = name;
        rows.push(
          `${bad} in context ${batch.seqId[row]} at position ${batch.pos[row]} (token ${batch.tokenId[row]})`,
        );
      }
    }
    return new UnfoldError('not-finite', {
      where: `training step ${step}, rows of ${hook}`,
      expected: 'finite activations',
      found: rows.length ? rows.join('; ') : 'values whose squares overflow float64',
      todo: 'harvest these rows again (float16 overflows above 65,504: use --dtype float32); the last checkpoint is kept',
    });
  }
}

/** What the first rows say about the data. */
export interface DataStatistics {
  /** sqrt(width) / mean norm. */
  scale: number;
  /** Where b_dec starts: in the space of normalised rows for layer_norm and constant_norm_rescale, else before scaling. */
  centre: Float32Array;
}

/** Rows whose median is looked for; OpenAI takes as many. */
const MEDIAN_ROWS = 32_768;

/** Reads the first rows of the stream (without using them up: training begins at position 0) and measures them. */
export async function measureRows(
  stream: RowStream,
  hookNames: readonly string[],
  options: { rows: number; centre: 'zeros' | 'mean' | 'geometric_median'; normalization: Normalization },
): Promise<DataStatistics> {
  const rows = Math.min(options.rows, stream.rows);
  const piece = Math.min(rows, 4096);
  const preparer = new RowPreparer(stream, hookNames, piece);
  const { width } = preparer;
  const kept = new Float32Array(Math.min(rows, MEDIAN_ROWS) * width);
  let norms = 0;
  let seen = 0;
  for (; seen + piece <= rows; seen += piece) {
    const { values } = preparer.prepare(await stream.read(seen, piece), 1, 0);
    norms += sumOfNorms(values, width);
    if (seen * width < kept.length)
      kept.set(values.subarray(0, Math.min(values.length, kept.length - seen * width)), seen * width);
  }
  const used = normalizedRows(
    kept.subarray(0, Math.min(kept.length, seen * width)),
    width,
    options.normalization,
  );
  return {
    scale: Math.sqrt(width) / (norms / seen),
    centre: Float32Array.from(centreOf(used, width, options.centre)),
  };
}

function centreOf(
  rows: Float32Array,
  width: number,
  kind: 'zeros' | 'mean' | 'geometric_median',
): Float64Array {
  if (kind === 'zeros') return new Float64Array(width);
  return kind === 'mean' ? meanRow(rows, width) : geometricMedian(rows, width);
}

/** Rows in the space where b_dec lives. */
function normalizedRows(rows: Float32Array, width: number, kind: Normalization): Float32Array {
  return tf.tidy(() =>
    normalizeRows(tf.tensor2d(rows, [rows.length / width, width]), kind).rows.dataSync<'float32'>(),
  );
}

function sumOfNorms(values: Float32Array, width: number): number {
  let total = 0;
  for (let at = 0; at < values.length; at += width) {
    let square = 0;
    for (let j = 0; j < width; j++) square += values[at + j]! ** 2;
    total += Math.sqrt(square);
  }
  return total;
}
