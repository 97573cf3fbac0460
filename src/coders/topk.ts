/**
 * @file The TopK coder (Gao et al., 2024; `sae_lens/saes/topk_sae.py`): the k largest pre-activations of a row, rectified.
 * With `rescale_acts_by_decoder_norm` latents are ranked and reported as if the decoder had unit rows. The training
 * step costs 2·d·F FLOP a row for the encoder and about 8·d·k for everything else: activations, both weight gradients
 * and Adam never leave their sparse form.
 */

import { z } from 'zod';
import { encodeTopK } from '../tensor/kernels/encode-topk.ts';
import { rowNorms } from '../tensor/kernels/row-norms.ts';
import * as tf from '../tensor/tf.ts';
import { TopK, topKSettings } from './activations/topk.ts';
import type { Architecture } from './architecture.ts';
import { Coder, type SparseActivations, type Weights } from './base.ts';
import { checkedConfig, checkedSettings } from './checked-config.ts';
import { SparseCode, unscaledCode } from './code.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { saeTrainingCoder } from './sae-training.ts';

/** cfg.json of coders that keep the k largest of a row. */
export const topKConfig = coderConfig.extend({
  k: z.int().positive().default(100),
  rescale_acts_by_decoder_norm: z.boolean().default(false),
});
type TopKConfig = z.infer<typeof topKConfig>;

/** Inference. */
export class TopKCoder extends Coder<TopKConfig> {
  readonly #norms: tf.Tensor1D | undefined;

  constructor(cfg: TopKConfig, weights: Weights) {
    super(cfg, weights);
    this.#norms = cfg.rescale_acts_by_decoder_norm
      ? tf.keep(tf.tidy(() => rowNorms(this.weight('W_dec'))))
      : undefined;
  }

  /** Whether latents are compared by absolute value and keep their signs. */
  protected get absolute(): boolean {
    return false;
  }

  override dispose(): void {
    this.#norms?.dispose();
    super.dispose();
  }

  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    const { values, indices } = this.activateSparse(rows);
    return new SparseCode(this.cfg.d_sae, values, indices).dense();
  }

  protected override activateSparse(rows: tf.Tensor2D): SparseActivations {
    return encodeTopK(rows, this.weight('W_enc'), this.weight<tf.Tensor1D>('b_enc'), this.cfg.k, {
      scale: this.#norms,
      absolute: this.absolute,
    });
  }

  protected override reconstruct(acts: tf.Tensor2D): tf.Tensor2D {
    return super.reconstruct(this.#norms ? tf.divNoNan(acts, this.#norms) : acts);
  }

  protected override reconstructSparse({ values, indices }: SparseActivations): tf.Tensor2D {
    const code = new SparseCode(this.cfg.d_sae, values, indices);
    const plain = this.#norms ? unscaledCode(code, this.#norms) : code;
    return plain.decode(this.weight('W_dec'), this.weight<tf.Tensor1D>('b_dec'));
  }
}

const trainingSettings = z.object(topKSettings);

export const topk: Architecture = {
  name: 'topk',
  about: 'the k largest latents of a row, with AuxK against dead ones',
  schema: topKConfig,
  shapes: {
    W_enc: ['d_in', 'd_sae'],
    b_enc: ['d_sae'],
    W_dec: ['d_sae', 'd_out'],
    b_dec: ['d_out'],
  },
  preActivationUnits: ['b_enc'],
  cannotFoldNorms: (cfg) =>
    cfg.rescale_acts_by_decoder_norm
      ? undefined
      : 'without rescale_acts_by_decoder_norm the norms would change which latents are the k largest',
  create: (cfg, weights) => new TopKCoder(checkedConfig(topKConfig, cfg), weights),
  training: {
    settings: trainingSettings,
    coderKeys: ['k', 'rescale_acts_by_decoder_norm'],
    decoder_init_norm: 0.1,
    create: (cfg: CoderConfig, settings, parameters) => {
      const parsed = checkedSettings(trainingSettings, settings);
      return saeTrainingCoder(cfg, parsed, parameters, { activation: new TopK(parsed) });
    },
  },
};
