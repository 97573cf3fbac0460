/**
 * @file How well xhat reproduces x, accumulated in float64 one row at a time, so that the result does not depend on how
 * the rows were cut into batches, to the last bit (only the two `…_legacy` metrics do, by definition). SAELens before
 * 6.45 averaged explained variance over batches and divided squared error by the number of tokens twice; SAEBench 0.6.0
 * still does.
 */
import { explainedVariance } from '../explained-variance.ts';
import type { Metrics } from './definitions.ts';

/** Sums over rows of x and xhat, both [rows, width]. */
export class ReconstructionAccumulator {
  readonly width: number;
  #rows = 0;
  /** The first row: sums are taken relative to it, so that a large common offset costs no precision. */
  #pivot: Float64Array | undefined;
  #shiftedSum: Float64Array;
  #shiftedSquares = 0;
  #error = 0;
  #normIn = 0;
  #normOut = 0;
  #ratio = 0;
  #cosine = 0;
  #squaresOut = 0;
  #inner = 0;
  #legacyVariance = 0;
  #legacyBias = 0;
  #batches = 0;

  constructor(width: number) {
    this.width = width;
    this.#shiftedSum = new Float64Array(width);
  }

  /** Rows counted so far. */
  get rows(): number {
    return this.#rows;
  }

  /** Mean of x over the rows so far, [width]. */
  get mean(): Float32Array {
    const pivot = this.#pivot ?? new Float64Array(this.width);
    return Float32Array.from(this.#shiftedSum, (sum, i) => pivot[i]! + sum / Math.max(this.#rows, 1));
  }

  /** Adds one evaluation batch of rows. Its extent matters to the `…_legacy` metrics alone. */
  add(x: Float32Array, xhat: Float32Array, rows: number): void {
    if (rows === 0) return;
    const before = { squaresOut: this.#squaresOut, inner: this.#inner };
    const errors = new Float64Array(rows);
    for (let row = 0; row < rows; row++) errors[row] = this.#addRow(x, xhat, row * this.width);
    this.#legacyVariance += legacyRatios(x, errors, this.width);
    const [squaresOut, inner] = [this.#squaresOut - before.squaresOut, this.#inner - before.inner];
    this.#legacyBias += inner === 0 ? 0 : squaresOut / inner;
    this.#batches += 1;
  }

  /** One row; returns ||x - xhat||^2. */
  #addRow(x: Float32Array, xhat: Float32Array, at: number): number {
    const { width } = this;
    this.#pivot ??= Float64Array.from(x.subarray(at, at + width));
    const [pivot, sum] = [this.#pivot, this.#shiftedSum];
    let [error, shifted, squaresIn, squaresOut, inner] = [0, 0, 0, 0, 0];
    for (let i = 0; i < width; i++) {
      const original = x[at + i]!;
      const made = xhat[at + i]!;
      const difference = original - made;
      const centred = original - pivot[i]!;
      sum[i]! += centred;
      error += difference * difference;
      shifted += centred * centred;
      squaresIn += original * original;
      squaresOut += made * made;
      inner += original * made;
    }
    const [normIn, normOut] = [Math.sqrt(squaresIn), Math.sqrt(squaresOut)];
    this.#rows += 1;
    this.#error += error;
    this.#shiftedSquares += shifted;
    this.#normIn += normIn;
    this.#normOut += normOut;
    this.#ratio += normOut / (normIn < 1e-4 ? 1 : normIn);
    this.#cosine += normIn * normOut === 0 ? 0 : inner / (normIn * normOut);
    this.#squaresOut += squaresOut;
    this.#inner += inner;
    return error;
  }

  /** The metrics named as in definitions.ts; empty when no row was added. */
  result(): Metrics {
    const n = this.#rows;
    if (n === 0) return {};
    const explained = this.#explainedVariance();
    return {
      explained_variance: explained,
      explained_variance_legacy: this.#legacyVariance / n,
      fvu: 1 - explained,
      mse: this.#error / n,
      cossim: this.#cosine / n,
      l2_norm_in: this.#normIn / n,
      l2_norm_out: this.#normOut / n,
      l2_ratio: this.#ratio / n,
      relative_reconstruction_bias: this.#inner === 0 ? 0 : this.#squaresOut / this.#inner,
      relative_reconstruction_bias_legacy: this.#legacyBias / this.#batches,
    };
  }

  /** Pooled. */
  #explainedVariance(): number {
    const n = this.#rows;
    const offset = this.#shiftedSum.reduce((total, sum) => total + sum * sum, 0) / n;
    return explainedVariance(this.#error / n, (this.#shiftedSquares - offset) / n);
  }
}

/** Sum over the batch's rows of 1 - error / ||x - batch mean||^2; a row at the mean counts 1 or 0 as above. */
function legacyRatios(x: Float32Array, errors: Float64Array, width: number): number {
  const rows = errors.length;
  const mean = new Float64Array(width);
  for (let at = 0; at < rows * width; at++) mean[at % width]! += x[at]! / rows;
  let total = 0;
  for (let row = 0; row < rows; row++) {
    let variance = 0;
    for (let i = 0; i < width; i++) variance += (x[row * width + i]! - mean[i]!) ** 2;
    total += variance < 1e-20 ? (errors[row]! < 1e-20 ? 1 : 0) : 1 - errors[row]! / variance;
  }
  return total;
}
