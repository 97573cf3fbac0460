/**
 * @file The BatchTopK coder (Bussmann et al., 2024; `sae_lens/saes/batchtopk_sae.py`): k latents a row on average over a
 * batch in training, a JumpReLU coder afterwards. A training checkpoint of SAELens (`topk_threshold` beside the weights)
 * is read as the JumpReLU coder that SAELens would export.
 */

import { z } from 'zod';
import type * as tf from '../tensor/tf.ts';
import { BatchTopK, batchTopKSettings } from './activations/batchtopk.ts';
import type { Architecture } from './architecture.ts';
import type { Weights } from './base.ts';
import { checkedSettings } from './checked-config.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { JumpReLUCoder } from './jumprelu.ts';
import { saeTrainingCoder } from './sae-training.ts';
import { renamedConfig, withThreshold } from './threshold-export.ts';
import type { TrainingCoder } from './training.ts';

/** Keys that its cfg.json has while it is in training. */
const coderKeys = ['k', 'rescale_acts_by_decoder_norm'];

/** cfg.json of a coder in training. */
export const batchTopKConfig = coderConfig.extend({
  k: z.number().positive().default(100),
  rescale_acts_by_decoder_norm: z.boolean().default(true),
});

const trainingSettings = z.object(batchTopKSettings);

/** The JumpReLU coder that a coder in training stands for; `weights` stay the caller's. */
export function asJumpReLU(
  cfg: CoderConfig,
  weights: Weights,
  threshold: number,
  architecture = 'jumprelu',
): { cfg: CoderConfig; weights: Weights } {
  const isScaled = cfg.rescale_acts_by_decoder_norm !== false;
  return {
    cfg: renamedConfig(cfg, architecture, [...coderKeys, 'matryoshka_widths']),
    weights: withThreshold(weights, { value: threshold, isScaled }),
  };
}

/** What `TrainingArchitecture.exported` is for every coder with a `topk_threshold`. */
export function exportedAsJumpReLU(
  { cfg, parameters, statistics }: TrainingCoder,
  architecture = 'jumprelu',
): { cfg: CoderConfig; weights: Weights } {
  const weights = Object.fromEntries(Object.entries(parameters).map(([name, { value }]) => [name, value]));
  return asJumpReLU(cfg, weights, statistics.topk_threshold ?? 0, architecture);
}

/** A checkpoint as the JumpReLU coder it stands for; takes the weights over. */
export function fromCheckpoint(
  cfg: CoderConfig,
  { topk_threshold, ...weights }: Weights,
  architecture?: string,
): JumpReLUCoder {
  const threshold = (topk_threshold as tf.Scalar).dataSync()[0]!;
  const jumpReLU = asJumpReLU(cfg, weights, threshold, architecture);
  for (const tensor of [topk_threshold!, ...Object.values(weights)]) tensor.dispose();
  return new JumpReLUCoder(jumpReLU.cfg, jumpReLU.weights);
}

export const batchtopk: Architecture = {
  name: 'batchtopk',
  about: 'the k · rows largest latents of a batch; comes out as jumprelu',
  schema: batchTopKConfig,
  shapes: {
    W_enc: ['d_in', 'd_sae'],
    b_enc: ['d_sae'],
    W_dec: ['d_sae', 'd_out'],
    b_dec: ['d_out'],
    topk_threshold: [],
  },
  preActivationUnits: ['b_enc'],
  create: (cfg, weights) => fromCheckpoint(cfg, weights),
  training: {
    settings: trainingSettings,
    coderKeys,
    decoder_init_norm: 0.1,
    create: (cfg, settings, parameters) => {
      const parsed = checkedSettings(trainingSettings, settings);
      return saeTrainingCoder(cfg, parsed, parameters, { activation: new BatchTopK(parsed) });
    },
    exported: (coder) => exportedAsJumpReLU(coder),
  },
};
