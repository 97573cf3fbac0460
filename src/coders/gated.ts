/**
 * @file The gated coder (Rajamanoharan et al., 2024; `sae_lens/saes/gated_sae.py`): one path decides which latents are on,
 * the other how strongly, with shared directions. Training: `activations/gated.ts`.
 */

import { z } from 'zod';
import * as tf from '../tensor/tf.ts';
import { Gated, gatedSettings } from './activations/gated.ts';
import type { Architecture } from './architecture.ts';
import { Coder } from './base.ts';
import { checkedSettings } from './checked-config.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { SaeTrainingCoder } from './sae-training.ts';
import type { InitialTensors } from './training.ts';

/** a = 1[x W_enc + b_gate > 0] ∘ relu(x (W_enc ∘ exp(r_mag)) + b_mag). */
export class GatedCoder extends Coder {
  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    const product = tf.matMul(rows, this.weight('W_enc'), false, true);
    const gate = tf.greater(tf.add(product, this.weight('b_gate')), 0);
    const magnitude = tf.add(tf.mul(product, tf.exp(this.weight('r_mag'))), this.weight('b_mag'));
    return tf.mul(tf.cast(gate, 'float32'), tf.relu(magnitude));
  }
}

const trainingSettings = z.object(gatedSettings);

/** The shared tensors with the vectors of both paths, at 0, instead of b_enc. */
export function withGates({ b_enc: _, ...shared }: InitialTensors, { d_sae }: CoderConfig): InitialTensors {
  const zeros = () => ({ shape: [d_sae], values: new Float32Array(d_sae) });
  return { ...shared, b_gate: zeros(), b_mag: zeros(), r_mag: zeros() };
}

export const gated: Architecture = {
  name: 'gated',
  about: 'one path switches a latent, another sets its strength',
  schema: coderConfig,
  shapes: {
    W_enc: ['d_in', 'd_sae'],
    b_gate: ['d_sae'],
    b_mag: ['d_sae'],
    r_mag: ['d_sae'],
    W_dec: ['d_sae', 'd_out'],
    b_dec: ['d_out'],
  },
  preActivationUnits: ['b_gate', 'b_mag'],
  // The path of magnitudes sees W_enc ∘ exp(r_mag).
  lowerPreActivations: ({ b_gate, b_mag, r_mag }, shift) => ({
    b_gate: tf.sub(b_gate!, shift),
    b_mag: tf.sub(b_mag!, tf.mul(shift, tf.exp(r_mag!))),
  }),
  create: (cfg, weights) => new GatedCoder(cfg, weights),
  training: {
    settings: trainingSettings,
    decoder_init_norm: 0.1,
    initial: withGates,
    create: (cfg: CoderConfig, settings, parameters) => {
      const parsed = checkedSettings(trainingSettings, settings);
      return new SaeTrainingCoder(cfg, parsed, parameters, { activation: new Gated(parsed) });
    },
  },
};
