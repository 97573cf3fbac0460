/**
 * @file From the shuffle's rows to a step's batch: several hooks stand side by side, each scaled by its own factor, and
 * every number is looked at once: a NaN or infinity is found before it can reach a parameter, and named by row.
 */
import type { Objective } from '../coders/objective.ts';
import type { CoderHooks, TrainBatch } from '../coders/training.ts';
import { UnfoldError } from '../errors.ts';
import type { HookWidth } from '../shards/block-source.ts';
import type { RowBatch } from '../shards/shuffle.ts';
import { numbersOf } from '../tensor/numbers.ts';
import * as tf from '../tensor/tf.ts';
import { targetsOf, widthOf } from './hooks.ts';
import { type WhiteningMap, whitened, whiteningTensors } from './whitening.ts';

/** Factors on the rows of each hook, in the order of the hooks. `out` is empty where x is its own target. */
export interface HookScales {
  in: readonly number[];
  out: readonly number[];
}

/** What rows go through before a step: factors, or a whitening. */
export interface RowMaps {
  scales: HookScales;
  whitening?: WhiteningMap;
}

/** What explained variance is measured against. */
export interface TargetSums {
  /** Σ over rows, [width of all targets], scaled. */
  sum: Float64Array;
  /** Σ ||row||² of each target hook, scaled. */
  squares: readonly number[];
}

/** Rows ready for a step. */
export interface PreparedRows extends TargetSums {
  /** [rows, width], scaled; the same array at every call. */
  values: Float32Array;
}

/** Prepares batches of `rows` rows of hooks that stand side by side. */
export class RowPreparer {
  readonly width: number;
  readonly #hooks: readonly HookWidth[];
  readonly #values: Float32Array;
  readonly #sum: Float64Array;

  constructor(hooks: readonly HookWidth[], rows: number) {
    this.#hooks = hooks;
    this.width = widthOf(hooks);
    this.#values = new Float32Array(rows * this.width);
    this.#sum = new Float64Array(this.width);
  }

  /**
   * Scales the rows of `batch`, hook by hook.
   * @throws UnfoldError `not-finite` naming the step and the rows (context and position) that hold NaN or infinity
   */
  prepare(batch: RowBatch, scales: readonly number[], step: number): PreparedRows {
    this.#sum.fill(0);
    const squares: number[] = [];
    let offset = 0;
    this.#hooks.forEach(({ name, width }, i) => {
      squares.push(this.#copy(batch.activations.get(name)!, width, offset, scales[i]!));
      offset += width;
    });
    if (!squares.every(Number.isFinite)) throw unsound(this.#hooks, batch, step);
    return { values: this.#values, sum: this.#sum, squares };
  }

  #copy(source: Float32Array, width: number, offset: number, scale: number): number {
    const values = this.#values;
    const sum = this.#sum;
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
}

function unsound(hooks: readonly HookWidth[], batch: RowBatch, step: number): UnfoldError {
  const rows: string[] = [];
  let hook = '';
  for (const { name, width } of hooks) {
    const values = batch.activations.get(name)!;
    for (let row = 0; row < batch.rows && rows.length < 5; row++) {
      const bad = values.subarray(row * width, (row + 1) * width).find((value) => !Number.isFinite(value));
      if (bad === undefined) continue;
      hook = name;
      const token = batch.tokenId[row]!;
      const known = token < 0 ? '' : ` (token ${token})`;
      rows.push(`${bad} in context ${batch.seqId[row]} at position ${batch.pos[row]}${known}`);
    }
  }
  return new UnfoldError('not-finite', {
    where: `training step ${step}, rows of ${hook}`,
    expected: 'finite activations',
    found: rows.length ? rows.join('; ') : 'values whose squares overflow float64',
    todo: 'harvest these rows again (float16 overflows above 65,504: use --dtype float32)',
  });
}

/** A batch as a step takes it, and the sums of its targets. The tensors belong to the {@link BatchPreparer}. */
export interface PreparedBatch extends Required<Pick<TrainBatch, 'x'>> {
  y?: tf.Tensor2D;
  /** See {@link TrainBatch.objective}. */
  objective?: Objective;
  target: TargetSums;
}

/** Makes batches of rows. */
export type Preparer = Pick<BatchPreparer, 'prepare' | 'release'>;

/**
 * Prepares the batches of one or several coders: what two of them read at the same scales is scaled and uploaded once.
 * Between {@link release} and the next batch nothing is held but memory to be filled again.
 */
export class BatchPreparer {
  readonly #rows: number;
  readonly #preparers = new Map<string, RowPreparer>();
  readonly #ready = new Map<string, { tensor: tf.Tensor2D; sums: TargetSums }>();

  constructor(rows: number) {
    this.#rows = rows;
  }

  /** @throws UnfoldError `not-finite`, see {@link RowPreparer.prepare} */
  prepare(batch: RowBatch, hooks: CoderHooks, { scales, whitening }: RowMaps, step: number): PreparedBatch {
    if (whitening) return this.#whitened(this.#side(batch, hooks.in, scales.in, step).tensor, whitening);
    const { tensor: x, sums } = this.#side(batch, hooks.in, scales.in, step);
    if (hooks.out.length === 0) return { x, target: sums };
    const y = this.#side(batch, targetsOf(hooks), scales.out, step);
    return { x, y: y.tensor, target: y.sums };
  }

  /** Frees the tensors of the batch; to be called before the next one is prepared. */
  release(): void {
    for (const { tensor } of this.#ready.values()) tensor.dispose();
    this.#ready.clear();
  }

  /** Whitened rows, once for all coders that share the map. */
  #whitened(rows: tf.Tensor2D, map: WhiteningMap): PreparedBatch {
    const key = JSON.stringify(['whitened', map.mean[0], map.matrix[0], map.matrix.length]);
    const known = this.#ready.get(key);
    if (known) return { x: known.tensor, target: known.sums };
    const tensors = whiteningTensors(map);
    const tensor = whitened(rows, tensors);
    tf.dispose([tensors.mean, tensors.matrix, tensors.inverse]);
    const sum = numbersOf(() => tf.sum(tensor, 0));
    const [square = 0] = numbersOf(() => tf.sum(tf.square(tensor)));
    const sums = { sum: Float64Array.from(sum), squares: [square] };
    this.#ready.set(key, { tensor, sums });
    return { x: tensor, target: sums };
  }

  #side(batch: RowBatch, hooks: readonly HookWidth[], scales: readonly number[], step: number) {
    const key = JSON.stringify([hooks.map(({ name }) => name), scales]);
    const known = this.#ready.get(key);
    if (known) return known;
    const preparer = this.#preparers.get(key) ?? new RowPreparer(hooks, this.#rows);
    this.#preparers.set(key, preparer);
    const { values, ...sums } = preparer.prepare(batch, scales, step);
    const side = { tensor: tf.tensor2d(values, [batch.rows, preparer.width], 'float32'), sums };
    this.#ready.set(key, side);
    return side;
  }
}
