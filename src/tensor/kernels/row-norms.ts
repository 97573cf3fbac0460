/**
 * @file Euclidean norms of the rows of a matrix: decoder norms, by which activations are ranked and penalties weighted,
 * every step. One pass over the matrix and no temporary of its size: the sparse dot product of each row with itself.
 */
import * as tf from '../tf.ts';
import { sparseDots } from './sparse-dots.ts';

/** ||W[i]|| for every row of W [F, d]: [F]. */
export function rowNorms(W: tf.Tensor2D): tf.Tensor1D {
  return tf.tidy(() => {
    const self = tf.expandDims(tf.range(0, W.shape[0], 1, 'int32'), 1) as tf.Tensor2D;
    return tf.sqrt(tf.reshape(sparseDots(W, self, W), [-1]));
  });
}
