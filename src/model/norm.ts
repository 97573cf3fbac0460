/**
 * @file Layer norm with TransformerLens 3's two hook points: `hook_scale` is the root of the variance plus epsilon, and
 * `hook_normalized` comes before weight and bias. Fused where nobody looks.
 */

import { layerNorm } from '../tensor/kernels/layer-norm.ts';
import * as tf from '../tensor/tf.ts';
import type { HookTable } from './hooks.ts';
import type { LayerNormWeights } from './weights.ts';

/** Which layer norm, and who looks at it. */
export interface NormSite {
  /** `blocks.0.ln1`, `ln_final`, … */
  name: string;
  /** Absent once folded into the next map: the result is then centred and scaled only. */
  weights: LayerNormWeights | undefined;
  eps: number;
  hooks: HookTable;
  /** False if the same hook points fire again in this run (split inputs). */
  last?: boolean;
}

/** `x` [..., d_model] normalised over its last axis. */
export function hookedLayerNorm<T extends tf.Tensor>(x: T, { name, weights, eps, hooks, last }: NormSite): T {
  const scaleName = `${name}.hook_scale`;
  const normalizedName = `${name}.hook_normalized`;
  if (!hooks.wants(scaleName, normalizedName)) return layerNorm(x, weights?.w, weights?.b, eps) as T;
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centred), -1, true);
  const scale = hooks.fire(scaleName, tf.sqrt(tf.add(variance, eps)), last);
  const normalized = hooks.fire(normalizedName, tf.div(centred, scale), last);
  return (weights ? tf.add(tf.mul(normalized, weights.w), weights.b) : normalized) as T;
}
