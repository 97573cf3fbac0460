/**
 * @file Exact re-parametrisations of a crosscoder: decoder norms (as it measures them) and the scales of its hooks moved
 * into the weights. As in `clt-fold.ts`, norms that rank latents are folded before scales that differ from hook to hook.
 */

import * as tf from '../tensor/tf.ts';
import type { Coder, Weights } from './base.ts';
import { checkedConfig } from './checked-config.ts';
import { type CrosscoderConfig, crosscoderConfig, normsOf } from './crosscoder-config.ts';

/** As in `fold.ts`: a latent that writes nothing stays as it is. */
const SMALLEST_NORM = 1e-8;

type Create<C extends Coder> = (cfg: CrosscoderConfig, weights: Weights) => C;

/** The coder whose latents write vectors of norm 1. */
export function foldCrosscoderNorms<C extends Coder>({ cfg, weights }: Coder, create: Create<C>): C {
  const config = checkedConfig(crosscoderConfig, cfg);
  const changed = tf.tidy(() => normsFoldedInto(weights, config));
  return rebuilt({ ...config, rescale_acts_by_decoder_norm: false }, weights, changed, create);
}

/** The weights that change. */
export function normsFoldedInto(weights: Weights, cfg: CrosscoderConfig): Record<string, tf.Tensor> {
  const norms = tf.maximum(normsOf(cfg).of(weights.W_dec as tf.Tensor2D), SMALLEST_NORM);
  const column = tf.expandDims(norms, 1);
  return {
    W_enc: tf.mul(weights.W_enc!, column),
    b_enc: tf.mul(weights.b_enc!, norms),
    ...(weights.threshold && { threshold: tf.mul(weights.threshold, norms) }),
    W_dec: tf.div(weights.W_dec!, column),
  };
}

/** The coder for plain rows, where `coder` was trained on each hook's rows times its scale. */
export function foldCrosscoderScales<C extends Coder>(
  coder: Coder,
  scales: { in: readonly number[]; out: readonly number[] },
  create: Create<C>,
): C {
  const config = checkedConfig(crosscoderConfig, coder.cfg);
  const ranked = config.rescale_acts_by_decoder_norm ? foldCrosscoderNorms(coder, create) : undefined;
  const { weights } = ranked ?? coder;
  const perColumn = (each: readonly number[]) =>
    tf.tensor1d(config.hook_widths.flatMap((width, hook) => new Array<number>(width).fill(each[hook]!)));
  const changed = tf.tidy(() => ({
    W_enc: tf.mul(weights.W_enc!, perColumn(scales.in)),
    W_dec: tf.div(weights.W_dec!, perColumn(scales.out)),
    b_dec: tf.div(weights.b_dec!, perColumn(scales.out)),
  }));
  const cfg = { ...config, rescale_acts_by_decoder_norm: false, normalize_activations: 'none' as const };
  const folded = rebuilt(cfg, weights, changed, create);
  ranked?.dispose();
  return folded;
}

function rebuilt<C extends Coder>(
  cfg: CrosscoderConfig,
  old: Weights,
  changed: Weights,
  create: Create<C>,
): C {
  const weights = Object.fromEntries(
    Object.entries(old).map(([name, tensor]) => [name, changed[name] ?? tf.clone(tensor)]),
  );
  return create(cfg, weights);
}
