/**
 * @file AuxK (Gao et al., 2024, appendix A.2): dead latents are asked to explain what the live ones left over, which
 * gives them a gradient. Every existing trainer gets some part of it wrong (SAELens keeps negative activations, sparsify
 * adds b_dec and never reaches the encoder); here the latents are rectified, b_dec is left out, the residual is a
 * constant, and the gradient reaches W_enc, b_enc and W_dec of the selected latents. SAELens's own definition is
 * `aux_relu: false`.
 */
import { z } from 'zod';
import { encodeTopK } from '../tensor/kernels/encode-topk.ts';
import type { ScatterTerm } from '../tensor/kernels/scatter-terms.ts';
import { sparseDecode } from '../tensor/kernels/sparse-decode.ts';
import { sparseDots } from '../tensor/kernels/sparse-dots.ts';
import * as tf from '../tensor/tf.ts';
import { maskOf, sumOfSquares, unscaled } from './training-maths.ts';

/** The settings every architecture with AuxK shares. */
export const auxKSettings = {
  /** Weight of the loss; 1/32 in OpenAI's and dictionary_learning's normalised form. SAELens's default. 0 turns it off. */
  aux_loss_coefficient: z.number().nonnegative().default(1),
  /** Dead latents a row may use; d_out / 2 where unset, as in all four systems. */
  aux_k: z.int().positive().optional(),
  /** False keeps negative activations of dead latents, as SAELens does: they then learn to be negative as well. */
  aux_relu: z.boolean().default(true),
  /** Divides by the mean squared norm of the centred residual (OpenAI, dictionary_learning): then 1/32 is the usual weight. */
  aux_normalize: z.boolean().default(false),
};
const auxK = z.object(auxKSettings);
export type AuxKSettings = z.infer<typeof auxK>;

/** What AuxK sees of a step. */
export interface AuxKInput {
  /** [rows, d_in] the encoder's input. */
  rows: tf.Tensor2D;
  /** [rows, d_out] x̂ - x: what the live latents left over, negative; constant. */
  error: tf.Tensor2D;
  /** [rows, 1] by which normalisation scales outputs back. */
  outputScale?: tf.Tensor2D;
  W_enc: tf.Tensor2D;
  b_enc: tf.Tensor1D;
  W_dec: tf.Tensor2D;
  /** [d_sae] factor on pre-activations for ranking. */
  norms?: tf.Tensor1D;
  /** Dead latents, ascending. */
  dead: Int32Array;
}

/** AuxK's loss (weighted) and the terms it adds to the weights' gradients. */
export interface AuxKResult {
  loss: tf.Scalar;
  encoder: ScatterTerm;
  decoder: ScatterTerm;
}

/**
 * `coefficient · min(n_dead / k_aux, 1) · mean_b ||a W_dec - residual||²` over the `k_aux` largest dead latents of each
 * row; undefined when nothing is dead or the coefficient is 0.
 */
export function auxiliaryLoss(input: AuxKInput, settings: AuxKSettings): AuxKResult | undefined {
  const { rows, outputScale, W_enc, W_dec, dead } = input;
  if (dead.length === 0 || settings.aux_loss_coefficient === 0) return undefined;
  const wanted = settings.aux_k ?? Math.max(1, Math.floor(W_dec.shape[1] / 2));
  const share = Math.min(dead.length / wanted, 1);
  const { values, indices } = selectDead(input, Math.min(wanted, dead.length), settings.aux_relu);
  const raw = sparseDecode(values, indices, W_dec);
  // raw - residual, with residual = -error.
  const error = tf.add(outputScale ? tf.mul(raw, outputScale) : raw, input.error);
  const weight = (settings.aux_loss_coefficient * share) / rows.shape[0];
  const scale = settings.aux_normalize ? tf.div(weight, centredMeanSquare(input.error)) : tf.scalar(weight);
  const plain = tf.mul(error, tf.mul(scale, 2));
  const gradient = (outputScale ? tf.mul(plain, outputScale) : plain) as tf.Tensor2D;
  const dots = sparseDots(gradient, indices, W_dec);
  const dz = settings.aux_relu ? tf.mul(dots, maskOf(values)) : dots;
  return {
    loss: tf.mul(sumOfSquares(error), scale),
    encoder: { indices, coefficients: dz as tf.Tensor2D, rows },
    decoder: { indices, coefficients: values, rows: gradient },
  };

  function centredMeanSquare(e: tf.Tensor2D): tf.Scalar {
    return tf.div(tf.sum(tf.square(tf.sub(e, tf.mean(e, 0)))), e.shape[0]);
  }

  function selectDead(
    { b_enc, norms, dead }: AuxKInput,
    k: number,
    relu: boolean,
  ): { values: tf.Tensor2D; indices: tf.Tensor2D } {
    const subset = tf.tensor1d(dead, 'int32');
    const top = encodeTopK(rows, W_enc, b_enc, k, norms ? { subset, scale: norms } : { subset });
    if (!relu) {
      const z = tf.add(sparseDots(rows, top.indices, W_enc), tf.gather(b_enc, top.indices));
      return { values: z as tf.Tensor2D, indices: top.indices };
    }
    return { values: norms ? unscaled(top.values, top.indices, norms) : top.values, indices: top.indices };
  }
}
