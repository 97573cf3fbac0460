/**
 * @file Euclidean norms of the rows of a matrix: decoder norms, by which activations are ranked and penalties weighted,
 * every step. The composite goes through the rows in pieces, so that no second matrix of their size exists.
 */
import * as tf from '../tf.ts';
import { chunks, type NamedTensors, runOp } from './composite.ts';

/** Name under which backends register this kernel. */
export const ROW_NORMS = 'UnfoldRowNorms';

/** Elements the composite squares at a time. */
const PIECE = 2 ** 22;

/** ||W[i]|| for every row of W [F, d]: [F]. Not differentiable. */
export function rowNorms(W: tf.Tensor2D): tf.Tensor1D {
  return runOp(ROW_NORMS, { W }, {}, rowNormsComposite)[0] as tf.Tensor1D;
}

/** The judge. */
export function rowNormsComposite(inputs: NamedTensors): tf.Tensor[] {
  const W = inputs.W as tf.Tensor2D;
  const [F, d] = W.shape;
  const parts = chunks(F, Math.max(1, Math.floor(PIECE / d))).map(({ start, count }) =>
    tf.tidy(() => tf.sqrt(tf.sum(tf.square(tf.slice2d(W, [start, 0], [count, d])), 1))),
  );
  return [tf.concat1d(parts as tf.Tensor1D[])];
}
