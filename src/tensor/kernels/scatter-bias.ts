/** @file The bias gradient of scatter terms: the coefficients of each latent, summed. */
import * as tf from '../tf.ts';
import { type NamedTensors, runOp } from './composite.ts';
import { type BiasTerm, termInputs, termsOf } from './scatter-terms.ts';

/** Name under which backends register this kernel. */
export const SCATTER_BIAS = 'UnfoldScatterBias';

interface Attrs {
  terms: number;
  F: number;
}

/**
 * db [F] with db[indices[b, j]] += coefficients[b, j] over all terms; zeros without terms. Not differentiable.
 *
 * @throws UnfoldError `bad-shape`
 */
export function scatterBias(terms: readonly BiasTerm[], F: number): tf.Tensor1D {
  const attrs: Attrs = { terms: terms.length, F };
  return runOp(SCATTER_BIAS, termInputs(terms, 'scatterBias'), attrs, scatterBiasComposite)[0] as tf.Tensor1D;
}

/** The judge: scatterND. */
export function scatterBiasComposite(inputs: NamedTensors, attrs: Attrs): tf.Tensor[] {
  const parts = termsOf(inputs, attrs.terms).map(({ indices, coefficients }) =>
    tf.scatterND(tf.reshape(indices, [-1, 1]), tf.reshape(coefficients, [-1]), [attrs.F]),
  );
  return [parts.length === 0 ? tf.zeros([attrs.F]) : tf.addN(parts)];
}
