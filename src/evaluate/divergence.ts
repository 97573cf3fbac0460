/**
 * @file Loss and divergence of next-token predictions from logits. The softmax is a tfjs op (vectorised where the backend
 * is); the sums over the vocabulary are float64, because the terms of a KL divergence are small differences of
 * large numbers.
 */
import * as tf from '../tensor/tf.ts';

/** Predictions of some positions: logits and their softmax, both [rows, d_vocab], and log of the sum of exponentials. */
export interface Predictions {
  rows: number;
  d_vocab: number;
  logits: Float32Array;
  probabilities: Float32Array;
  /** [rows], float64 */
  logSumExp: Float64Array;
}

/** Takes logits [..., d_vocab] apart; disposes nothing. */
export function predictions(logits: tf.Tensor): Predictions {
  const d_vocab = logits.shape[logits.rank - 1]!;
  const rows = logits.size / d_vocab;
  const softmax = tf.tidy(() => tf.softmax(tf.reshape(logits, [rows, d_vocab])));
  const result = {
    rows,
    d_vocab,
    logits: logits.dataSync() as Float32Array,
    probabilities: softmax.dataSync() as Float32Array,
  };
  softmax.dispose();
  return { ...result, logSumExp: logSumExpOf(result) };
}

/** From the most probable token m of a row: logits[m] - log p[m], where both are at their most precise. */
function logSumExpOf(p: Omit<Predictions, 'logSumExp'>): Float64Array {
  const result = new Float64Array(p.rows);
  for (let row = 0; row < p.rows; row++) {
    const start = row * p.d_vocab;
    let best = start;
    for (let at = start + 1; at < start + p.d_vocab; at++) if (p.logits[at]! > p.logits[best]!) best = at;
    result[row] = p.logits[best]! - Math.log(p.probabilities[best]!);
  }
  return result;
}

/** -log p(target) at one row, nats; rows repeat where `p` holds fewer. */
export function crossEntropyAt(p: Predictions, row: number, target: number): number {
  const own = row % p.rows;
  return p.logSumExp[own]! - p.logits[own * p.d_vocab + target]!;
}

/** KL(original || changed) at one row, nats; `changed` may hold fewer rows, which then repeat. */
export function divergenceAt(original: Predictions, changed: Predictions, row: number): number {
  const start = row * original.d_vocab;
  const other = row % changed.rows;
  const shift = other * original.d_vocab - start;
  let sum = 0;
  let mass = 0;
  for (let at = start; at < start + original.d_vocab; at++) {
    const p = original.probabilities[at]!;
    mass += p;
    sum += p * (original.logits[at]! - changed.logits[at + shift]!);
  }
  // Dividing by the mass (1 up to float32 rounding) keeps identical predictions at exactly 0.
  return sum / mass - original.logSumExp[row]! + changed.logSumExp[other]!;
}
