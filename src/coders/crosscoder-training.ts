/** @file How a crosscoder is set up for training, what it starts with, and what comes out. */

import { z } from 'zod';
import * as tf from '../tensor/tf.ts';
import type { Weights } from './base.ts';
import { checkedConfig, checkedSettings } from './checked-config.ts';
import type { CoderConfig } from './config.ts';
import { type CrosscoderConfig, crosscoderConfig, normsOf } from './crosscoder-config.ts';
import { normsFoldedInto } from './crosscoder-fold.ts';
import {
  type LayeredSettings,
  layeredActivation,
  layeredCoderKeys,
  layeredSettings,
} from './layered-settings.ts';
import { saeTrainingCoder } from './sae-training.ts';
import type { Beginning, InitialTensors, TrainingArchitecture, TrainingCoder } from './training.ts';

/** Latents a row, over all hooks. */
const DEFAULT_K = 32;

const own = {
  /** How latents are weighed and ranked: by the sum of their norms at each hook, or by that of all hooks side by side. */
  decoder_norms: z.enum(['sum', 'concatenated']).default('sum'),
};
const trainingSettings = layeredSettings(own, DEFAULT_K);

/** Training: an autoencoder of long rows, with the norms of a crosscoder. Loss: Σ_h mean_b ||x̂_h - x_h||² + sparsity. */
export const crosscoderTraining: TrainingArchitecture = {
  hooks: 'several',
  widths: ({ in: hooks }) => {
    const hook_widths = hooks.map(({ width }) => width);
    return { d_in: hook_widths.reduce((sum, width) => sum + width, 0), hook_widths };
  },
  settings: trainingSettings,
  coderKeys: [...layeredCoderKeys, 'decoder_norms'],
  decoder_init_norm: 0.1,
  initial,
  create: (cfg, settings, parameters) => {
    const [config, parsed] = [
      checkedConfig(crosscoderConfig, cfg),
      checkedSettings(trainingSettings, settings) as LayeredSettings,
    ];
    return saeTrainingCoder(config, parsed, parameters, {
      activation: layeredActivation(parsed, { d_sae: config.d_sae, d_out: config.d_in }),
      norms: normsOf(config),
      targets: config.hook_widths,
    });
  },
  exported: exportedCrosscoder,
};

/** The shared tensors; biases of the encoder make latents read the distance from the mean row. */
function initial(
  shared: InitialTensors,
  cfg: CoderConfig,
  settings: Record<string, unknown>,
  { mean }: Beginning,
): InitialTensors {
  const { activation, jumprelu_init_threshold } = checkedSettings(trainingSettings, settings) as unknown as {
    activation: string;
    jumprelu_init_threshold: number;
  };
  const { values } = shared.W_enc!;
  const b_enc = Float32Array.from({ length: cfg.d_sae }, (_, i) =>
    mean.reduce((sum, x, j) => sum - x * values[i * mean.length + j]!, 0),
  );
  return {
    ...shared,
    b_enc: { shape: [cfg.d_sae], values: b_enc },
    ...(activation === 'jumprelu' && {
      threshold: { shape: [cfg.d_sae], values: new Float32Array(cfg.d_sae).fill(jumprelu_init_threshold) },
    }),
  };
}

/** BatchTopK leaves as JumpReLU; others as they are. */
function exportedCrosscoder({ cfg, parameters, statistics }: TrainingCoder): {
  cfg: CrosscoderConfig;
  weights: Weights;
} {
  const config = checkedConfig(crosscoderConfig, cfg);
  const copy = () =>
    Object.fromEntries(
      Object.entries(parameters).map(([name, { value }]) => [name, tf.clone(value) as tf.Tensor]),
    );
  if (config.activation !== 'batchtopk') return { cfg: config, weights: copy() };
  const { k, rescale_acts_by_decoder_norm, ...rest } = config;
  const weights = tf.tidy(() => {
    const plain = copy();
    const threshold = tf.fill([config.d_sae], statistics.topk_threshold ?? 0);
    return { ...plain, ...(rescale_acts_by_decoder_norm && normsFoldedInto(plain, config)), threshold };
  });
  const training_architecture_details = { activation: 'batchtopk', k, rescale_acts_by_decoder_norm };
  const metadata = { ...config.metadata, training_architecture_details };
  return {
    cfg: { ...rest, activation: 'jumprelu', rescale_acts_by_decoder_norm: false, metadata },
    weights,
  };
}
