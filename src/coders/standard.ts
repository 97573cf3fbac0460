/**
 * @file The standard coder: relu latents and a sparsity penalty, weighted by the decoder's norms (Anthropic's April 2024
 * update; `sae_lens/saes/standard_sae.py`) or, with a decoder of unit norm, not (Bricken et al., 2023;
 * dictionary_learning). The step runs on a ragged code as soon as few enough latents are active.
 */

import { z } from 'zod';
import * as tf from '../tensor/tf.ts';
import { ReLU, reluSettings } from './activations/relu.ts';
import type { Architecture } from './architecture.ts';
import { Coder } from './base.ts';
import { checkedSettings } from './checked-config.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { SaeTrainingCoder } from './sae-training.ts';

/** Inference: a = relu(x W_enc + b_enc). */
export class StandardCoder extends Coder {
  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    return tf.relu(this.preActivations(rows));
  }
}

const trainingSettings = z.object(reluSettings);

export const standard: Architecture = {
  name: 'standard',
  about: 'relu latents with a sparsity penalty (L1) weighted by decoder norms',
  schema: coderConfig,
  shapes: {
    W_enc: ['d_in', 'd_sae'],
    b_enc: ['d_sae'],
    W_dec: ['d_sae', 'd_out'],
    b_dec: ['d_out'],
  },
  preActivationUnits: ['b_enc'],
  create: (cfg, weights) => new StandardCoder(cfg, weights),
  training: {
    settings: trainingSettings,
    /** SAELens's: the small decoder of Anthropic's April update. */
    decoder_init_norm: 0.1,
    create: (cfg: CoderConfig, settings, parameters) => {
      const parsed = checkedSettings(trainingSettings, settings);
      return new SaeTrainingCoder(cfg, parsed, parameters, { activation: new ReLU(parsed) });
    },
  },
};
