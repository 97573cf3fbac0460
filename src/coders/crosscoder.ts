/**
 * @file Crosscoders (Lindsey et al., 2024, "Sparse Crosscoders for Cross-Layer Features and Model Diffing"): one code for
 * several hooks at once. Latents read all hooks, Σ_h x_h W_enc^h + b_enc, and write to all of them, x̂_h = a W_dec^h +
 * b_dec^h. Hooks stand side by side in a row, so the encoder is one matrix [Σ d_h, d_sae] and the decoder one [d_sae, Σ d_h];
 * what makes it more than an autoencoder of long rows is that a latent is measured hook by hook (`decoder-norms.ts`) and
 * every hook has its own scale. The encoder sees rows as they are, without a bias of the decoder.
 */

import * as tf from '../tensor/tf.ts';
import { encodeLayer } from './activations/inference.ts';
import type { Architecture } from './architecture.ts';
import { Coder, type SparseActivations, type Weights } from './base.ts';
import { checkedConfig } from './checked-config.ts';
import type { Code, SparseCode } from './code.ts';
import { type CrosscoderConfig, crosscoderConfig, normsOf } from './crosscoder-config.ts';
import { foldCrosscoderNorms, foldCrosscoderScales } from './crosscoder-fold.ts';
import { crosscoderTraining } from './crosscoder-training.ts';

/** Inference on rows of all hooks side by side. */
export class CrosscoderCoder extends Coder<CrosscoderConfig> {
  #norms: tf.Tensor1D | undefined;

  override encodeSparse(x: tf.Tensor): SparseActivations | undefined {
    const { activation } = this.cfg;
    return activation === 'topk' || activation === 'groupmax' ? super.encodeSparse(x) : undefined;
  }

  override dispose(): void {
    this.#norms?.dispose();
    this.#norms = undefined;
    super.dispose();
  }

  protected override activate(rows: tf.Tensor2D): tf.Tensor2D {
    return this.#code(rows).dense();
  }

  protected override activateSparse(rows: tf.Tensor2D): SparseActivations {
    const { values, indices } = this.#code(rows) as SparseCode;
    return { values: values as tf.Tensor2D, indices: indices as tf.Tensor2D };
  }

  #code(rows: tf.Tensor2D): Code {
    const { activation, k, rescale_acts_by_decoder_norm } = this.cfg;
    return encodeLayer(rows, {
      activation,
      k,
      W_enc: this.weight('W_enc'),
      b_enc: this.weight<tf.Tensor1D>('b_enc'),
      threshold: this.weights.threshold as tf.Tensor1D | undefined,
      norms: rescale_acts_by_decoder_norm ? this.#decoderNorms() : undefined,
    });
  }

  #decoderNorms(): tf.Tensor1D {
    this.#norms ??= tf.keep(tf.tidy(() => normsOf(this.cfg).of(this.weight('W_dec'))));
    return this.#norms;
  }
}

export const crosscoder: Architecture = {
  name: 'crosscoder',
  about: 'one code for several hooks: latents read and write all of them',
  schema: crosscoderConfig,
  shapes: {},
  tensors: (cfg) => ({
    W_enc: [cfg.d_in, cfg.d_sae],
    b_enc: [cfg.d_sae],
    ...(cfg.activation === 'jumprelu' && { threshold: [cfg.d_sae] }),
    W_dec: [cfg.d_sae, cfg.d_in],
    b_dec: [cfg.d_in],
  }),
  preActivationUnits: [],
  cannotFoldNorms: (cfg) => {
    const { activation, rescale_acts_by_decoder_norm } = checkedConfig(crosscoderConfig, cfg);
    if (activation === 'relu' || activation === 'jumprelu') return undefined;
    if (activation !== 'groupmax' && rescale_acts_by_decoder_norm) return undefined;
    return 'the norms would change which latents are the largest';
  },
  foldNorms: (coder) => foldCrosscoderNorms(coder, create),
  foldScales: (coder, scales) => foldCrosscoderScales(coder, scales, create),
  create,
  training: crosscoderTraining,
};

function create(cfg: unknown, weights: Weights): CrosscoderCoder {
  return new CrosscoderCoder(checkedConfig(crosscoderConfig, cfg), weights);
}
