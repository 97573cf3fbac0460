/** @file Whether two coders compute the same: both see the same random rows, and the largest difference is told. */
import * as tf from '../../tensor/tf.ts';
import type { Coder } from '../base.ts';

/** How far two coders are apart: the largest difference of a row's entries over the largest of them. */
export interface Agreement {
  /** In the activations: not 0 where norms were folded, which changes the unit of a latent. */
  activations: number;
  outputs: number;
}

/** Rows of several sizes: some of them pass the thresholds of any coder. */
const SIZES = [0.1, 1, 10, 100];
const ROWS_OF_EACH = 8;
const SEED = 1;

/** Lets both compute the same rows. They are contexts for coders that look at neighbours. */
export function agreement(a: Coder, b: Coder): Agreement {
  return tf.tidy(() => {
    const rows = tf.randomNormal([SIZES.length, ROWS_OF_EACH, a.inputWidth], 0, 1, 'float32', SEED);
    const x = tf.mul(rows, tf.tensor(SIZES, [SIZES.length, 1, 1]));
    return {
      activations: relative(a.encode(x), b.encode(x)),
      outputs: relative(a.forward(x), b.forward(x)),
    };
  });
}

/** NaN unless all entries are finite, whatever a backend's max makes of NaN. */
function relative(a: tf.Tensor, b: tf.Tensor): number {
  const areFinite = tf.all(tf.logicalAnd(tf.isFinite(a), tf.isFinite(b))).dataSync()[0];
  if (!areFinite) return Number.NaN;
  const largest = tf.max(tf.abs(a), -1);
  const difference = tf.max(tf.abs(tf.sub(a, b)), -1);
  return tf.max(tf.divNoNan(difference, largest)).dataSync()[0]!;
}
