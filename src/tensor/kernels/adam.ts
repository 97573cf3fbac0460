/**
 * @file Adam (Kingma and Ba 2015) as PyTorch computes it: eps is added outside the bias-corrected root,
 * W -= lr/(1-beta1^t) · m / (sqrt(v)/sqrt(1-beta2^t) + eps). In place on `native`. Decoupled weight decay, AMSGrad and
 * parameter groups are left out: a caller has one call per parameter anyway.
 */
import * as tf from '../tf.ts';
import { requireTensor } from './check.ts';
import { inPlaceBackends, type NamedTensors, runOp } from './composite.ts';

/** Name under which backends register this kernel. */
export const ADAM = 'UnfoldAdam';

/** Settings of one Adam update. */
export interface AdamSettings {
  lr: number;
  /** Default 0.9. */
  beta1?: number;
  /** Default 0.999. */
  beta2?: number;
  /** Default 1e-8. */
  eps?: number;
  /** 1 for the first update: the power of the bias correction. */
  step: number;
  /** Factor on the gradient before anything else (clipping). Default 1. */
  gradScale?: number;
}

/** Settings with defaults filled in and the two bias corrections, as kernels take them. */
export interface AdamAttrs {
  beta1: number;
  beta2: number;
  eps: number;
  gradScale: number;
  /** lr / (1 - beta1^step). */
  stepSize: number;
  /** 1 / sqrt(1 - beta2^step). */
  rootCorrection: number;
}

/** Fills in defaults and bias corrections. */
export function adamAttrs(settings: AdamSettings): AdamAttrs {
  const { lr, step, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, gradScale = 1 } = settings;
  return {
    beta1,
    beta2,
    eps,
    gradScale,
    stepSize: lr / (1 - beta1 ** step),
    rootCorrection: 1 / Math.sqrt(1 - beta2 ** step),
  };
}

/**
 * One dense Adam update of a parameter and its two moments. All four tensors have one shape.
 *
 * @throws UnfoldError `bad-shape`
 */
export function adam(
  param: tf.Variable,
  m: tf.Variable,
  v: tf.Variable,
  grad: tf.Tensor,
  settings: AdamSettings,
): void {
  for (const [name, tensor] of Object.entries({ m, v, grad }))
    requireTensor(tensor, param.shape, `adam: ${name}`);
  updateVariables(ADAM, { param, m, v }, { grad }, adamAttrs(settings), adamComposite);
}

/** The judge: returns the new parameter and moments. */
export function adamComposite(inputs: NamedTensors, attrs: AdamAttrs): tf.Tensor[] {
  const { param, m, v, grad } = inputs as Record<string, tf.Tensor>;
  const g = tf.mul(grad!, attrs.gradScale);
  const m1 = tf.add(tf.mul(m!, attrs.beta1), tf.mul(g, 1 - attrs.beta1));
  const v1 = tf.add(tf.mul(v!, attrs.beta2), tf.mul(tf.square(g), 1 - attrs.beta2));
  const root = tf.add(tf.mul(tf.sqrt(v1), attrs.rootCorrection), attrs.eps);
  return [tf.sub(param!, tf.mul(tf.div(m1, root), attrs.stepSize)), m1, v1];
}

/**
 * Runs a kernel that updates variables. A kernel of an in-place backend writes into their buffers and returns nothing;
 * the composite returns the new values in the order of `variables`, and they are assigned.
 */
export function updateVariables<Attrs extends object>(
  name: string,
  variables: Record<string, tf.Variable>,
  inputs: NamedTensors,
  attrs: Attrs,
  composite: (inputs: NamedTensors, attrs: Attrs) => tf.Tensor[],
): void {
  if (inPlaceBackends.has(tf.getBackend()))
    for (const variable of Object.values(variables)) unshare(variable);
  const updated = runOp(name, { ...variables, ...inputs }, attrs, composite);
  Object.values(variables).forEach((variable, i) => {
    const value = updated[i];
    if (!value) return;
    variable.assign(value);
    value.dispose();
  });
}

/** Gives a variable a buffer of its own if another tensor still reads the one it has. */
function unshare(variable: tf.Variable): void {
  if (tf.backend().refCount(variable.dataId) <= 1) return;
  const copy = tf.mul(variable, 1);
  variable.assign(copy);
  copy.dispose();
}
