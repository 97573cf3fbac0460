/**
 * @file The GroupMax coder (`sparsify`'s `activation: "groupmax"`): the largest latent of each of k groups of neighbours,
 * rectified. Latents are compared by plain pre-activations, so decoder norms cannot be moved into the encoder.
 */

import { z } from 'zod';
import { encodeGroupMax } from '../tensor/kernels/encode-groupmax.ts';
import type * as tf from '../tensor/tf.ts';
import { GroupMax, groupMaxSettings, requireGroups } from './activations/groupmax.ts';
import type { Architecture } from './architecture.ts';
import { Coder, type SparseActivations, type Weights } from './base.ts';
import { checkedConfig, checkedSettings } from './checked-config.ts';
import { SparseCode } from './code.ts';
import { coderConfig } from './config.ts';
import { saeTrainingCoder } from './sae-training.ts';

const schema = coderConfig.extend({ k: z.int().positive().default(32) });
type GroupMaxConfig = z.infer<typeof schema>;

/** Inference. */
export class GroupMaxCoder extends Coder<GroupMaxConfig> {
  constructor(cfg: GroupMaxConfig, weights: Weights) {
    requireGroups(cfg.k, cfg.d_sae);
    super(cfg, weights);
  }

  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    const { values, indices } = this.activateSparse(rows);
    return new SparseCode(this.cfg.d_sae, values, indices).dense();
  }

  /** In the order of the groups. */
  protected override activateSparse(rows: tf.Tensor2D): SparseActivations {
    return encodeGroupMax(rows, this.weight('W_enc'), this.weight<tf.Tensor1D>('b_enc'), this.cfg.k);
  }
}

const trainingSettings = z.object(groupMaxSettings);

export const groupmax: Architecture = {
  name: 'groupmax',
  about: 'the largest latent of each of k groups of neighbours (sparsify)',
  schema,
  shapes: {
    W_enc: ['d_in', 'd_sae'],
    b_enc: ['d_sae'],
    W_dec: ['d_sae', 'd_out'],
    b_dec: ['d_out'],
  },
  preActivationUnits: ['b_enc'],
  cannotFoldNorms: () => 'the norms would change which latent is the largest of its group',
  create: (cfg, weights) => new GroupMaxCoder(checkedConfig(schema, cfg), weights),
  training: {
    settings: trainingSettings,
    coderKeys: ['k'],
    decoder_init_norm: 0.1,
    create: (cfg, settings, parameters) => {
      const parsed = checkedSettings(trainingSettings, settings);
      requireGroups(parsed.k, cfg.d_sae);
      return saeTrainingCoder(cfg, parsed, parameters, { activation: new GroupMax(parsed) });
    },
  },
};
