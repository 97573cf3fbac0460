/**
 * @file The directions of a synthetic model: random unit vectors, pushed apart by a few steps of Adam, and a bias. More
 * features than dimensions cannot be orthogonal; the steps only lessen their interference, as SAELens's
 * `orthogonalize_embeddings` does (same loss, its gradient written out: sum over i ≠ j of (e_i · e_j)², plus n times the
 * sum of (e_i · e_i - 1)²).
 */
import { Random } from '../random.ts';
import { adam } from '../tensor/kernels/adam.ts';
import * as tf from '../tensor/tf.ts';
import type { SyntheticModelConfig } from './config.ts';

/** Rows of the Gram matrix in memory at once. */
const CHUNK = 1024;

/** Directions [num_features, hidden_dim] of norm 1 and the bias [hidden_dim]. */
export interface FeatureDictionary {
  directions: tf.Tensor2D;
  bias: tf.Tensor1D;
}

/** Draws them; the caller owns both. Each step waits for `onStep`, and ends with what that throws. */
export async function featureDictionary(
  config: SyntheticModelConfig,
  onStep: (done: number) => Promise<void>,
): Promise<FeatureDictionary> {
  const { num_features, hidden_dim, seed, orthogonalization } = config;
  const random = Random.of(seed, 'synth', 'directions');
  const draws = Float32Array.from({ length: num_features * hidden_dim }, () => random.normal());
  const start = unitRows(tf.tensor2d(draws, [num_features, hidden_dim]));
  const directions = orthogonalization ? await pushApart(start, orthogonalization, onStep) : start;
  return { directions, bias: biasOf(config) };
}

function biasOf({ hidden_dim, bias, seed }: SyntheticModelConfig): tf.Tensor1D {
  const random = Random.of(seed, 'synth', 'bias');
  const draws = Float64Array.from({ length: hidden_dim }, () => random.normal());
  const norm = Math.hypot(...draws);
  return tf.tensor1d(Float32Array.from(draws, (x) => (x * bias) / norm));
}

/** Rows scaled to norm 1; takes its argument over. */
function unitRows(rows: tf.Tensor2D): tf.Tensor2D {
  const scaled = tf.tidy(() => tf.div(rows, tf.maximum(tf.norm(rows, 'euclidean', 1, true), 1e-8)));
  rows.dispose();
  return scaled as tf.Tensor2D;
}

async function pushApart(
  start: tf.Tensor2D,
  { num_steps, lr }: { num_steps: number; lr: number },
  onStep: (done: number) => Promise<void>,
): Promise<tf.Tensor2D> {
  const zeros = () => tf.tidy(() => tf.variable(tf.zerosLike(start)));
  const [E, m, v] = [tf.variable(start), zeros(), zeros()];
  start.dispose();
  try {
    for (let step = 1; step <= num_steps; step++) {
      const gradient = tf.tidy(() => interferenceGradient(E as unknown as tf.Tensor2D));
      adam(E, m, v, gradient, { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, step });
      gradient.dispose();
      await onStep(step);
    }
    return unitRows(tf.clone(E) as tf.Tensor2D);
  } finally {
    tf.dispose([E, m, v]);
  }
}

/** 4 (G - diag G) E + 4 n (diag G - 1) E with G = E Eᵀ, some rows of G at a time. */
export function interferenceGradient(E: tf.Tensor2D): tf.Tensor2D {
  const [n, d] = E.shape;
  const parts: tf.Tensor2D[] = [];
  for (let from = 0; from < n; from += CHUNK) {
    const rows = tf.slice2d(E, [from, 0], [Math.min(CHUNK, n - from), d]);
    const squares = tf.sum(tf.square(rows), 1, true);
    const others = tf.tidy(() => tf.matMul(tf.matMul(rows, E, false, true), E));
    const own = tf.sub(tf.mul(tf.sub(squares, 1), n), squares);
    parts.push(tf.mul(tf.add(others, tf.mul(rows, own)), 4) as tf.Tensor2D);
  }
  return tf.concat(parts, 0);
}
