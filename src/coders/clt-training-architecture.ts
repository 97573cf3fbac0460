/**
 * @file How a cross-layer transcoder is set up for training, what it starts with, and what comes out: settings, widths,
 * initial parameters, export.
 */

import { z } from 'zod';
import { UnfoldError } from '../errors.ts';
import * as tf from '../tensor/tf.ts';
import type { BatchTopKSettings } from './activations/batchtopk.ts';
import type { Weights } from './base.ts';
import { checkedConfig, checkedSettings } from './checked-config.ts';
import { normsFolded } from './clt-fold.ts';
import { type CltConfig, cltConfig, layersOf, ofLayer } from './clt-layout.ts';
import { cltTrainingCoder } from './clt-training.ts';
import { SharedCltTrainingCoder } from './clt-training-shared.ts';
import type { CoderConfig } from './config.ts';
import {
  type LayeredSettings,
  layeredActivation,
  layeredCoderKeys,
  layeredSettings,
} from './layered-settings.ts';
import type {
  Beginning,
  CoderHooks,
  InitialTensors,
  TrainingArchitecture,
  TrainingCoder,
} from './training.ts';

/** Latents a row in each layer: crosslayer-coding suggests about 200 in all twelve layers of GPT-2. */
const DEFAULT_K = 16;

const own = {
  /** Adds an affine path from each layer's input to its output, trained along, from 0. */
  skip: z.boolean().default(false),
  /**
   * batchtopk: whether every layer keeps k latents a row on average, or all layers together k times their number, shared out
   * as they need them.
   */
  k_scope: z.enum(['layer', 'all']).default('layer'),
  /** Norm of encoder rows at the start. */
  encoder_init_norm: z.number().positive().default(1),
};
const trainingSettings = layeredSettings(own, DEFAULT_K);

/** Training. */
export const cltTraining: TrainingArchitecture = {
  hooks: 'several-in-out',
  widths: layerWidths,
  latents: (cfg) => checkedConfig(cltConfig, cfg).n_layers * cfg.d_sae,
  settings: trainingSettings,
  coderKeys: [...layeredCoderKeys, 'skip'],
  decoder_init_norm: 0.1,
  initial,
  create: (cfg, settings, parameters) => {
    const [config, parsed] = [
      checkedConfig(cltConfig, cfg),
      checkedSettings(trainingSettings, settings) as LayeredSettings,
    ];
    const activation = layeredActivation(parsed, config);
    if (parsed.k_scope !== 'all') return cltTrainingCoder(config, parsed, parameters, activation);
    refuseUnshared(parsed);
    return new SharedCltTrainingCoder(config, parsed as unknown as BatchTopKSettings, parameters, activation);
  },
  exported: exportedClt,
};

/** Layers can share a selection; thresholds, penalties and moving averages are each layer's own. */
function refuseUnshared({ activation, topk_threshold_rule }: LayeredSettings): void {
  if (activation === 'batchtopk' && topk_threshold_rule === 'calibrated') return;
  throw new UnfoldError('bad-setting', {
    where: 'k_scope: all',
    expected: 'activation batchtopk, with topk_threshold_rule: calibrated',
    found: `${activation}${activation === 'batchtopk' ? ` with ${topk_threshold_rule}` : ''}`,
    todo: 'leave k_scope out, or change the other setting',
  });
}

/** Layers of equal width, each with its target. */
function layerWidths({ in: inputs, out }: CoderHooks): Record<string, unknown> {
  for (const hooks of [inputs, out]) {
    const other = hooks.find(({ width }) => width !== hooks[0]!.width);
    if (!other) continue;
    throw new UnfoldError('bad-setting', {
      where: 'hook_names and hook_names_out of a clt',
      expected: `hooks of one width in every layer (${hooks[0]!.name} has ${hooks[0]!.width})`,
      found: `${other.name} of width ${other.width}`,
      todo: 'give the same kind of hook for every layer',
    });
  }
  return { n_layers: inputs.length, d_in: inputs[0]!.width, d_out: out[0]!.width };
}

/**
 * Encoder and decoder have directions of their own; biases of the encoder make latents read the distance from the mean
 * row, so that none begins as a constant; those of the decoder are the targets' centre.
 */
function initial(
  shared: InitialTensors,
  cfg: CoderConfig,
  settings: Record<string, unknown>,
  { draw, decoder_norm, mean }: Beginning,
): InitialTensors {
  const { n_layers, d_in, d_out, d_sae, activation, skip } = checkedConfig(cltConfig, cfg);
  const { encoder_init_norm, jumprelu_init_threshold } = checkedSettings(
    trainingSettings,
    settings,
  ) as unknown as {
    encoder_init_norm: number;
    jumprelu_init_threshold: number;
  };
  const tensors: InitialTensors = {};
  const set = (name: string, layer: number, shape: number[], values: Float32Array) => {
    tensors[ofLayer(name, layer)] = { shape, values };
  };
  for (const layer of layersOf({ n_layers })) {
    const width = (n_layers - layer) * d_out;
    const W_enc = draw(ofLayer('W_enc', layer), d_in).map((value) => value * encoder_init_norm);
    const from = mean.subarray(layer * d_in, (layer + 1) * d_in);
    set('W_enc', layer, [d_sae, d_in], W_enc);
    set('b_enc', layer, [d_sae], centred(W_enc, from));
    if (activation === 'jumprelu')
      set('threshold', layer, [d_sae], new Float32Array(d_sae).fill(jumprelu_init_threshold));
    const W_dec = draw(ofLayer('W_dec', layer), width).map((value) => value * decoder_norm);
    set('W_dec', layer, [d_sae, width], W_dec);
    set('b_dec', layer, [d_out], shared.b_dec!.values.slice(layer * d_out, (layer + 1) * d_out));
    if (skip) set('W_skip', layer, [d_out, d_in], new Float32Array(d_out * d_in));
  }
  return tensors;
}

/** [d_sae] -W_enc · mean. */
function centred(W_enc: Float32Array, mean: Float32Array): Float32Array {
  return Float32Array.from({ length: W_enc.length / mean.length }, (_, i) => {
    let dot = 0;
    for (let j = 0; j < mean.length; j++) dot += W_enc[i * mean.length + j]! * mean[j]!;
    return -dot;
  });
}

/** BatchTopK leaves as JumpReLU, each layer with the one threshold that was settled for it; others as they are. */
function exportedClt({ cfg, parameters, statistics }: TrainingCoder): { cfg: CltConfig; weights: Weights } {
  const config = checkedConfig(cltConfig, cfg);
  const weights: Record<string, tf.Tensor> = Object.fromEntries(
    Object.entries(parameters).map(([name, { value }]) => [name, tf.clone(value) as tf.Tensor]),
  );
  if (config.activation !== 'batchtopk') return { cfg: config, weights };
  const { k, rescale_acts_by_decoder_norm, ...rest } = config;
  for (const layer of layersOf(config)) {
    if (rescale_acts_by_decoder_norm)
      replace(
        weights,
        tf.tidy(() => normsFolded(weights, layer)),
      );
    const threshold = statistics[ofLayer('topk_threshold', layer)] ?? 0;
    weights[ofLayer('threshold', layer)] = tf.fill([config.d_sae], threshold);
  }
  const training_architecture_details = { activation: 'batchtopk', k, rescale_acts_by_decoder_norm };
  const metadata = { ...config.metadata, training_architecture_details };
  return {
    cfg: { ...rest, activation: 'jumprelu', rescale_acts_by_decoder_norm: false, metadata },
    weights,
  };
}

function replace(weights: Record<string, tf.Tensor>, changed: Record<string, tf.Tensor>): void {
  for (const [name, tensor] of Object.entries(changed)) {
    weights[name]?.dispose();
    weights[name] = tensor;
  }
}
