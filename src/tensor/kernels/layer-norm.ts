/**
 * @file Layer normalisation over the last axis (Ba, Kiros and Hinton 2016), as GPT-2 has it: biased variance, eps inside
 * the root. One op instead of the eight it takes in tfjs, and its gradient in closed form.
 */
import { UnfoldError } from '../../errors.ts';
import * as tf from '../tf.ts';
import { type NamedTensors, runOp } from './composite.ts';

/** Names under which backends register the two kernels: with gamma and beta, and without either. */
export const LAYER_NORM = 'UnfoldLayerNorm';
export const NORMALISE = 'UnfoldNormalise';

interface Attrs {
  eps: number;
}

/**
 * (x - mean) / sqrt(variance + eps) · gamma + beta over the last axis. Without gamma and beta it is TransformerLens's
 * `LayerNormPre`. Differentiable in x, gamma and beta.
 *
 * @param x [..., d] @param gamma [d] @param beta [d] @param eps GPT-2: 1e-5
 * @returns the shape of x
 * @throws UnfoldError `bad-shape`
 */
export function layerNorm<T extends tf.Tensor>(
  x: T,
  gamma: tf.Tensor1D | undefined,
  beta: tf.Tensor1D | undefined,
  eps: number,
): T {
  check(x, gamma, beta);
  if (gamma && beta) return runOp(LAYER_NORM, { x, gamma, beta }, { eps }, layerNormComposite)[0] as T;
  return tf.tidy(() => {
    const normalised = runOp(NORMALISE, { x }, { eps }, layerNormComposite)[0]!;
    const scaled = gamma ? tf.mul(normalised, gamma) : normalised;
    return (beta ? tf.add(scaled, beta) : scaled) as T;
  });
}

function check(x: tf.Tensor, gamma: tf.Tensor | undefined, beta: tf.Tensor | undefined): void {
  const d = x.shape.at(-1);
  for (const [name, weight] of Object.entries({ gamma, beta })) {
    if (d !== undefined && (!weight || (weight.rank === 1 && weight.size === d))) continue;
    throw new UnfoldError('bad-shape', {
      where: `layerNorm: ${name}`,
      expected: `[${d ?? 'd'}], the last axis of x [${x.shape.join(', ')}]`,
      found: weight ? `[${weight.shape.join(', ')}]` : 'a scalar x',
      todo: 'pass the weights of this layer norm',
    });
  }
}

/** The judge: plain tfjs ops. */
export function layerNormComposite({ x, gamma, beta }: NamedTensors, { eps }: Attrs): tf.Tensor[] {
  const { normalised } = statistics(x!, eps);
  return [gamma && beta ? tf.add(tf.mul(normalised, gamma), beta) : normalised];
}

function statistics(x: tf.Tensor, eps: number): { normalised: tf.Tensor; scale: tf.Tensor } {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const scale = tf.sqrt(tf.add(tf.mean(tf.square(centred), -1, true), eps));
  return { normalised: tf.div(centred, scale), scale };
}

/** dL/dx for dL/d(normalised): its part along the mean and along the normalised row itself has no effect. */
function throughNormalisation(dNormalised: tf.Tensor, x: tf.Tensor, eps: number): tf.Tensor {
  const { normalised, scale } = statistics(x, eps);
  const along = tf.mul(normalised, tf.mean(tf.mul(dNormalised, normalised), -1, true));
  const inner = tf.sub(tf.sub(dNormalised, tf.mean(dNormalised, -1, true)), along);
  return tf.div(inner, scale);
}

function overRows(t: tf.Tensor): tf.Tensor {
  const d = t.shape.at(-1)!;
  return tf.sum(tf.reshape(t, [-1, d]), 0);
}

tf.registerGradient({
  kernelName: LAYER_NORM,
  inputsToSave: ['x', 'gamma'],
  gradFunc: (dy, saved, attrs) => {
    const [x, gamma] = saved as [tf.Tensor, tf.Tensor1D];
    const { eps } = attrs as unknown as Attrs;
    const d = dy as tf.Tensor;
    return {
      x: () => tf.tidy(() => throughNormalisation(tf.mul(d, gamma), x, eps)),
      gamma: () => tf.tidy(() => overRows(tf.mul(d, statistics(x, eps).normalised))),
      beta: () => overRows(d),
    };
  },
});

tf.registerGradient({
  kernelName: NORMALISE,
  inputsToSave: ['x'],
  gradFunc: (dy, [x], attrs) => ({
    x: () => tf.tidy(() => throughNormalisation(dy as tf.Tensor, x!, (attrs as unknown as Attrs).eps)),
  }),
});
