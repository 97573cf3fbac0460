/**
 * @file The JumpReLU coder (Rajamanoharan et al., 2024; `sae_lens/saes/jumprelu_sae.py`): a latent is on where its
 * pre-activation is strictly above its own threshold. Training: `activations/jumprelu.ts`.
 */

import { z } from 'zod';
import * as tf from '../tensor/tf.ts';
import { JumpReLU, jumpReLUSettings } from './activations/jumprelu.ts';
import type { Architecture } from './architecture.ts';
import { Coder } from './base.ts';
import { checkedSettings } from './checked-config.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { SaeTrainingCoder } from './sae-training.ts';
import type { InitialTensors } from './training.ts';

/** a = relu(z) ∘ 1[z > threshold], z = x W_enc + b_enc. */
export class JumpReLUCoder extends Coder {
  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    return jumpReLU(this.preActivations(rows), this.weight('threshold'));
  }
}

/** relu(z) where z > threshold, else 0; strict, as in SAELens. */
export function jumpReLU(z: tf.Tensor2D, threshold: tf.Tensor): tf.Tensor2D {
  return tf.mul(tf.relu(z), tf.cast(tf.greater(z, threshold), 'float32'));
}

/** Settings of training, for this architecture and for transcoders with JumpReLU latents. */
export const jumpReLUTraining = z
  .object(jumpReLUSettings)
  .refine(
    ({ jumprelu_sparsity_loss_mode: mode, target_l0 }) =>
      !['quadratic', 'ratio'].includes(mode) || typeof target_l0 === 'number',
    {
      path: ['target_l0'],
      error: 'the number of latents a row that jumprelu_sparsity_loss_mode quadratic or ratio aims at',
    },
  );

/** The shared tensors and the thresholds. */
export function withThresholds(
  shared: InitialTensors,
  { d_sae }: CoderConfig,
  settings: Record<string, unknown>,
): InitialTensors {
  const { jumprelu_init_threshold } = checkedSettings(jumpReLUTraining, settings);
  const values = new Float32Array(d_sae).fill(jumprelu_init_threshold);
  return { ...shared, threshold: { shape: [d_sae], values } };
}

export const jumprelu: Architecture = {
  name: 'jumprelu',
  about: 'a latent is on above a threshold of its own',
  schema: coderConfig,
  shapes: {
    W_enc: ['d_in', 'd_sae'],
    b_enc: ['d_sae'],
    threshold: ['d_sae'],
    W_dec: ['d_sae', 'd_out'],
    b_dec: ['d_out'],
  },
  preActivationUnits: ['b_enc', 'threshold'],
  create: (cfg, weights) => new JumpReLUCoder(cfg, weights),
  training: {
    settings: jumpReLUTraining,
    decoder_init_norm: 0.1,
    initial: withThresholds,
    create: (cfg: CoderConfig, settings, parameters) => {
      const parsed = checkedSettings(jumpReLUTraining, settings);
      return new SaeTrainingCoder(cfg, parsed, parameters, { activation: new JumpReLU(parsed) });
    },
  },
};
