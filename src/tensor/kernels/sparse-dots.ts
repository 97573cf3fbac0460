/**
 * @file The counterpart of sparse decoding: dot products of a batch row with the k weight rows it names. It is the
 * gradient of the activations (dense-dense-sparse-out in OpenAI's kernels), and recomputes chosen pre-activations.
 */
import * as tf from '../tf.ts';
import { requireTensor } from './check.ts';
import { chunkRows, chunks, type NamedTensors, runOp } from './composite.ts';
import { scatterGrad } from './scatter-grad.ts';
import { sparseDecode } from './sparse-decode.ts';

/** Name under which backends register this kernel. */
export const SPARSE_DOTS = 'UnfoldSparseDots';

/**
 * out[b, j] = rows[b] · W[indices[b, j]]. Differentiable in rows and W.
 *
 * @param rows [B, d] @param indices [B, k] int32 in [0, F) @param W [F, d] @returns [B, k]
 * @throws UnfoldError `bad-shape`
 */
export function sparseDots(rows: tf.Tensor2D, indices: tf.Tensor2D, W: tf.Tensor2D): tf.Tensor2D {
  requireTensor(rows, [indices.shape[0], W.shape[1]], 'sparseDots: rows');
  return runOp(SPARSE_DOTS, { rows, indices, W }, {}, sparseDotsComposite)[0] as tf.Tensor2D;
}

/** The judge: gathers [rows, k, d] a chunk of rows at a time. */
export function sparseDotsComposite(inputs: NamedTensors): tf.Tensor[] {
  const { rows, indices, W } = inputs as Record<string, tf.Tensor2D>;
  const [B, k] = indices!.shape;
  const d = W!.shape[1];
  const parts = chunks(B, chunkRows(k, d)).map(({ start, count }) =>
    tf.tidy(() => {
      const gathered = tf.gather(W!, tf.slice2d(indices!, [start, 0], [count, k]));
      const column = tf.reshape(tf.slice2d(rows!, [start, 0], [count, d]), [count, d, 1]);
      return tf.reshape(tf.matMul(gathered, column), [count, k]);
    }),
  );
  return [parts.length === 0 ? tf.zeros([0, k]) : tf.concat(parts, 0)];
}

tf.registerGradient({
  kernelName: SPARSE_DOTS,
  inputsToSave: ['rows', 'indices', 'W'],
  gradFunc: (dy, saved) => {
    const [rows, indices, W] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    const coefficients = dy as tf.Tensor2D;
    return {
      rows: () => sparseDecode(coefficients, indices, W),
      W: () => scatterGrad([{ indices, coefficients, rows }], W.shape[0]),
    };
  },
});
