/**
 * @file The decoder of a sparse code: a weighted sum of the k rows of W_dec that a batch row names. As
 * torch's embedding_bag and the decoder kernels of OpenAI's and EleutherAI's coders; 2·k·d FLOP a row instead of 2·F·d.
 */
import * as tf from '../tf.ts';
import { requireTensor } from './check.ts';
import { chunkRows, chunks, type NamedTensors, runOp } from './composite.ts';
import { scatterGrad } from './scatter-grad.ts';
import { sparseDots } from './sparse-dots.ts';

/** Name under which backends register this kernel. */
export const SPARSE_DECODE = 'UnfoldSparseDecode';

/**
 * out[b] = sum_j values[b, j] · W_dec[indices[b, j]] (+ b_dec). An index may occur twice in a row: both count.
 * Differentiable in values, W_dec and b_dec.
 *
 * @param values [B, k] @param indices [B, k] int32 in [0, F) @param W_dec [F, d_out] @param b_dec [d_out]
 * @returns [B, d_out]
 * @throws UnfoldError `bad-shape`
 */
export function sparseDecode(
  values: tf.Tensor2D,
  indices: tf.Tensor2D,
  W_dec: tf.Tensor2D,
  b_dec?: tf.Tensor1D,
): tf.Tensor2D {
  requireTensor(indices, values.shape, 'sparseDecode: indices');
  if (b_dec) requireTensor(b_dec, [W_dec.shape[1]], 'sparseDecode: b_dec');
  const inputs: NamedTensors = { values, indices, W_dec };
  if (b_dec) inputs.b_dec = b_dec;
  return runOp(SPARSE_DECODE, inputs, {}, sparseDecodeComposite)[0] as tf.Tensor2D;
}

/** The judge: gathers [rows, k, d_out] a chunk of rows at a time. */
export function sparseDecodeComposite(inputs: NamedTensors): tf.Tensor[] {
  const { values, indices, W_dec, b_dec } = inputs as Record<string, tf.Tensor2D>;
  const [B, k] = values!.shape;
  const d = W_dec!.shape[1];
  const parts = chunks(B, chunkRows(k, d)).map(({ start, count }) =>
    tf.tidy(() => {
      const gathered = tf.gather(W_dec!, tf.slice2d(indices!, [start, 0], [count, k]));
      const weights = tf.reshape(tf.slice2d(values!, [start, 0], [count, k]), [count, 1, k]);
      return tf.reshape(tf.matMul(weights, gathered), [count, d]);
    }),
  );
  const decoded = parts.length === 0 ? tf.zeros([0, d]) : tf.concat(parts, 0);
  return [b_dec ? tf.add(decoded, b_dec) : decoded];
}

tf.registerGradient({
  kernelName: SPARSE_DECODE,
  inputsToSave: ['values', 'indices', 'W_dec'],
  gradFunc: (dy, saved) => {
    const [values, indices, W_dec] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    const rows = dy as tf.Tensor2D;
    return {
      values: () => sparseDots(rows, indices, W_dec),
      W_dec: () => scatterGrad([{ indices, coefficients: values, rows }], W_dec.shape[0]),
      b_dec: () => tf.sum(rows, 0),
    };
  },
});
