/**
 * @file The Gaussian error linear unit (Hendrycks and Gimpel 2016) in both forms that GPT-2 checkpoints name: `gelu`,
 * x Φ(x), and `gelu_new`, its tanh approximation, which OpenAI trained with.
 */
import * as tf from '../tf.ts';
import { type NamedTensors, runOp } from './composite.ts';

/** Name under which backends register this kernel. */
export const GELU = 'UnfoldGelu';

/** Hugging Face's names of the two forms. */
export type GeluForm = 'gelu_new' | 'gelu';

interface Attrs {
  form: GeluForm;
}

const ROOT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715;

/**
 * `gelu_new`: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))); `gelu`: 0.5 x (1 + erf(x/√2)). Differentiable.
 * @returns the shape of x
 */
export function gelu<T extends tf.Tensor>(x: T, form: GeluForm): T {
  return runOp(GELU, { x }, { form }, geluComposite)[0] as T;
}

/** The judge: plain tfjs ops. tfjs's own erf on the CPU backend is good to 1.5e-7. */
export function geluComposite({ x }: NamedTensors, { form }: Attrs): tf.Tensor[] {
  const gate = form === 'gelu_new' ? tf.tanh(tanhArgument(x!)) : tf.erf(tf.mul(x!, Math.SQRT1_2));
  return [tf.mul(tf.mul(x!, 0.5), tf.add(gate, 1))];
}

function tanhArgument(x: tf.Tensor): tf.Tensor {
  return tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), CUBIC)), ROOT_2_OVER_PI);
}

/** d gelu / dx, elementwise. */
export function geluSlope(x: tf.Tensor, form: GeluForm): tf.Tensor {
  if (form === 'gelu') {
    const distribution = tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
    const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return tf.add(distribution, tf.mul(x, density));
  }
  const t = tf.tanh(tanhArgument(x));
  const inner = tf.mul(tf.add(tf.mul(tf.square(x), 3 * CUBIC), 1), ROOT_2_OVER_PI);
  const bend = tf.mul(tf.mul(x, 0.5), tf.mul(tf.sub(1, tf.square(t)), inner));
  return tf.add(tf.mul(tf.add(t, 1), 0.5), bend);
}

tf.registerGradient({
  kernelName: GELU,
  inputsToSave: ['x'],
  gradFunc: (dy, [x], attrs) => ({
    x: () => tf.tidy(() => tf.mul(dy as tf.Tensor, geluSlope(x!, (attrs as unknown as Attrs).form))),
  }),
});
