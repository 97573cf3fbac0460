/**
 * @file The dense gradient matrix of scatter terms: the judge of the in-place kernels, and what general autodiff gets.
 * A trainer does not need it: see `scatter-adam.ts`.
 */
import * as tf from '../tf.ts';
import { requireShape } from './check.ts';
import { chunkRows, chunks, type NamedTensors, runOp } from './composite.ts';
import { type ScatterTerm, termInputs, termsOf } from './scatter-terms.ts';

/** Name under which backends register this kernel. */
export const SCATTER_GRAD = 'UnfoldScatterGrad';

interface Attrs {
  terms: number;
  F: number;
}

/**
 * dW [F, d] with dW[indices[b, j]] += coefficients[b, j] · rows[b] over all terms. Not differentiable.
 *
 * @param terms at least one, all with the same d @param F number of latents
 * @throws UnfoldError `bad-shape`
 */
export function scatterGrad(terms: readonly ScatterTerm[], F: number): tf.Tensor2D {
  requireShape(terms.length > 0, 'scatterGrad: terms', 'at least one term', 'none');
  const inputs = termInputs(terms, 'scatterGrad', terms[0]!.rows.shape[1]);
  const attrs: Attrs = { terms: terms.length, F };
  return runOp(SCATTER_GRAD, inputs, attrs, scatterGradComposite)[0] as tf.Tensor2D;
}

/** The judge: scatterND of the [rows·k, d] contributions, a chunk of rows at a time. */
export function scatterGradComposite(inputs: NamedTensors, attrs: Attrs): tf.Tensor[] {
  const terms = termsOf(inputs, attrs.terms);
  const d = terms[0]!.rows.shape[1];
  let total: tf.Tensor2D = tf.zeros([attrs.F, d]);
  for (const term of terms) {
    const [B, k] = term.indices.shape;
    for (const { start, count } of chunks(B, chunkRows(k, d))) {
      const next: tf.Tensor2D = tf.tidy(() => tf.add(total, scatterRows(term, start, count, attrs.F)));
      total.dispose();
      total = next;
    }
  }
  return [total];
}

/** The contribution of `count` rows of one term: [F, d]. */
function scatterRows(term: ScatterTerm, start: number, count: number, F: number): tf.Tensor2D {
  const k = term.indices.shape[1];
  const d = term.rows.shape[1];
  const at = tf.reshape(tf.slice2d(term.indices, [start, 0], [count, k]), [count * k, 1]);
  const weights = tf.reshape(tf.slice2d(term.coefficients, [start, 0], [count, k]), [count, k, 1]);
  const rows = tf.reshape(tf.slice2d(term.rows, [start, 0], [count, d]), [count, 1, d]);
  return tf.scatterND(at, tf.reshape(tf.mul(weights, rows), [count * k, d]), [F, d]) as tf.Tensor2D;
}
