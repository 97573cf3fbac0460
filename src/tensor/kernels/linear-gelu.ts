/**
 * @file The first half of an MLP block in one op: affine map, then GELU. Where nobody looks at the pre-activations they
 * need not be written and read again; on backend `native` bias and GELU are one pass over the product, in place.
 */
import * as tf from '../tf.ts';
import { type NamedTensors, runOp } from './composite.ts';
import { type GeluForm, gelu, geluSlope } from './gelu.ts';
import { linear } from './linear.ts';

/** Name under which backends register this kernel. */
export const LINEAR_GELU = 'UnfoldLinearGelu';

interface Attrs {
  form: GeluForm;
}

/**
 * gelu(x · W + b). Differentiable in x, W and b; the gradient computes the pre-activations again.
 *
 * @param x [..., in] @param W [in, out] @param b [out]
 * @returns [..., out]
 * @throws UnfoldError `bad-shape`
 */
export function linearGelu(x: tf.Tensor, W: tf.Tensor2D, b: tf.Tensor1D, form: GeluForm): tf.Tensor {
  if (x.shape.at(-1) !== W.shape[0] || b.size !== W.shape[1]) return linear(x, W, b); // which says what is wrong
  return runOp(LINEAR_GELU, { x, W, b }, { form }, linearGeluComposite)[0]!;
}

/** The judge: the two ops after each other. */
export function linearGeluComposite({ x, W, b }: NamedTensors, { form }: Attrs): tf.Tensor[] {
  return [gelu(linear(x!, W as tf.Tensor2D, b as tf.Tensor1D), form)];
}

tf.registerGradient({
  kernelName: LINEAR_GELU,
  inputsToSave: ['x', 'W', 'b'],
  gradFunc: (dy, saved, attrs) => {
    const [x, W, b] = saved as [tf.Tensor, tf.Tensor2D, tf.Tensor1D];
    const { form } = attrs as unknown as Attrs;
    const dPre = tf.tidy(() => tf.mul(dy as tf.Tensor, geluSlope(linear(x, W, b), form)));
    const rows = (t: tf.Tensor): tf.Tensor2D => tf.reshape(t, [-1, t.shape.at(-1)!]);
    return {
      x: () => tf.reshape(tf.matMul(rows(dPre), W, false, true), x.shape),
      W: () => tf.matMul(rows(x), rows(dPre), true, false),
      b: () => tf.sum(rows(dPre), 0),
    };
  },
});
