/**
 * @file The JumpReLU coder (Rajamanoharan et al., 2024; `sae_lens/saes/jumprelu_sae.py`), to be loaded and run: a latent
 * is on where its pre-activation is strictly above its own threshold. Training it comes later.
 */
import * as tf from '../tensor/tf.ts';
import type { Architecture } from './architecture.ts';
import { Coder } from './base.ts';
import { coderConfig } from './config.ts';

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
};
