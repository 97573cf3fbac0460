/**
 * @file What a coder's weights alone say of its latents (`feature_metrics` of SAELens's run_evals): the length of the encoder row, its
 * angle to the decoder row, the bias.
 */
import type { Coder } from '../coders/coder.ts';

/** Per latent, each [d_sae]; absent where the coder has no such weights (tied or biasless ones). */
export interface WeightStatistics {
  /** ||W_enc[:, i]|| */
  encoder_norm?: Float32Array;
  /** cos(W_enc[:, i], W_dec[i]); only where both have the same width. */
  encoder_decoder_cosine_sim?: Float32Array;
  encoder_bias?: Float32Array;
}

/** Reads the weights once. */
export function weightStatistics(coder: Coder): WeightStatistics {
  const { W_enc, W_dec, b_enc } = coder.weights;
  const { d_in, d_sae } = coder.cfg;
  if (!W_enc || !W_dec) return {};
  const encoder = W_enc.dataSync() as Float32Array;
  const decoder = W_dec.dataSync() as Float32Array;
  const norm = (weights: Float32Array, width: number, latent: number) =>
    Math.sqrt(dot(weights, weights, width, latent));
  const perLatent = (value: (latent: number) => number) =>
    Float32Array.from({ length: d_sae }, (_, i) => value(i));
  const sameWidth = encoder.length === decoder.length;
  return {
    encoder_norm: perLatent((i) => norm(encoder, d_in, i)),
    ...(sameWidth && {
      encoder_decoder_cosine_sim: perLatent(
        (i) => dot(encoder, decoder, d_in, i) / (norm(encoder, d_in, i) * norm(decoder, d_in, i)),
      ),
    }),
    ...(b_enc && { encoder_bias: (b_enc.dataSync() as Float32Array).slice() }),
  };
}

function dot(a: Float32Array, b: Float32Array, width: number, latent: number): number {
  let sum = 0;
  for (let at = latent * width; at < (latent + 1) * width; at++) sum += a[at]! * b[at]!;
  return sum;
}
