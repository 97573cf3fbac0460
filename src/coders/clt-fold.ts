/**
 * @file Exact re-parametrisations of a cross-layer transcoder: decoder norms and activation scales moved into its weights.
 * A latent's norm is that of everything it writes, over all layers. Where latents are ranked by it, it is folded before
 * scales that differ from layer to layer: they would change the norms, and with them the ranking.
 */

import { rowNorms } from '../tensor/kernels/row-norms.ts';
import * as tf from '../tensor/tf.ts';
import type { Coder, Weights } from './base.ts';
import { checkedConfig } from './checked-config.ts';
import { type CltConfig, cltConfig, layersOf, ofLayer } from './clt-layout.ts';

/** As in `fold.ts`: a latent that writes nothing stays as it is. */
const SMALLEST_NORM = 1e-8;

type Create<C extends Coder> = (cfg: CltConfig, weights: Weights) => C;

/** The coder whose latents write vectors of norm 1, over all layers together. */
export function foldCltNorms<C extends Coder>({ cfg, weights }: Coder, create: Create<C>): C {
  const config = checkedConfig(cltConfig, cfg);
  const changed = tf.tidy(() =>
    Object.assign({}, ...layersOf(config).map((layer) => normsFolded(weights, layer))),
  ) as Weights;
  return rebuilt({ ...config, rescale_acts_by_decoder_norm: false }, weights, changed, create);
}

/** A layer's weights that change when its latents write vectors of norm 1. */
export function normsFolded(weights: Weights, layer: number): Record<string, tf.Tensor> {
  const at = (name: string) => weights[ofLayer(name, layer)];
  const norms = tf.maximum(rowNorms(at('W_dec') as tf.Tensor2D), SMALLEST_NORM);
  const column = tf.expandDims(norms, 1);
  const threshold = at('threshold');
  return {
    [ofLayer('W_enc', layer)]: tf.mul(at('W_enc')!, column),
    [ofLayer('b_enc', layer)]: tf.mul(at('b_enc')!, norms),
    ...(threshold && { [ofLayer('threshold', layer)]: tf.mul(threshold, norms) }),
    [ofLayer('W_dec', layer)]: tf.div(at('W_dec')!, column),
  };
}

/** The coder for plain rows, where `coder` was trained on each layer's rows and targets times `in` and `out`. */
export function foldCltScales<C extends Coder>(
  coder: Coder,
  scales: { in: readonly number[]; out: readonly number[] },
  create: Create<C>,
): C {
  const config = checkedConfig(cltConfig, coder.cfg);
  const ranked = config.rescale_acts_by_decoder_norm ? foldCltNorms(coder, create) : undefined;
  const { weights } = ranked ?? coder;
  const changed = tf.tidy(() =>
    Object.assign({}, ...layersOf(config).map((layer) => scalesFolded(weights, config, layer, scales))),
  ) as Weights;
  const cfg = { ...config, rescale_acts_by_decoder_norm: false, normalize_activations: 'none' as const };
  const folded = rebuilt(cfg, weights, changed, create);
  ranked?.dispose();
  return folded;
}

function scalesFolded(
  weights: Weights,
  { d_out }: CltConfig,
  layer: number,
  scales: { in: readonly number[]; out: readonly number[] },
): Record<string, tf.Tensor> {
  const at = (name: string) => weights[ofLayer(name, layer)];
  const [input, output] = [scales.in[layer]!, scales.out[layer]!];
  // The decoder's columns are the targets from this layer on.
  const perColumn = scales.out.slice(layer).flatMap((scale) => new Array<number>(d_out).fill(1 / scale));
  const skip = at('W_skip');
  return {
    [ofLayer('W_enc', layer)]: tf.mul(at('W_enc')!, input),
    [ofLayer('W_dec', layer)]: tf.mul(at('W_dec')!, tf.tensor1d(perColumn)),
    [ofLayer('b_dec', layer)]: tf.div(at('b_dec')!, output),
    ...(skip && { [ofLayer('W_skip', layer)]: tf.mul(skip, input / output) }),
  };
}

function rebuilt<C extends Coder>(cfg: CltConfig, old: Weights, changed: Weights, create: Create<C>): C {
  const weights = Object.fromEntries(
    Object.entries(old).map(([name, tensor]) => [name, changed[name] ?? tf.clone(tensor)]),
  );
  return create(cfg, weights);
}
