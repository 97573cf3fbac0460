/**
 * @file Causal attention on queries, keys and values as the projection leaves them, side by side in one row: the native
 * kernel walks through them where they lie, so nothing is copied apart first.
 */
import { UnfoldError } from '../../errors.ts';
import * as tf from '../tf.ts';
import { attentionGradients, causalAttention } from './causal-attention.ts';
import { type NamedTensors, runOp } from './composite.ts';

/** Name under which backends register this kernel. */
export const PACKED_ATTENTION = 'UnfoldPackedAttention';

interface Attrs {
  heads: number;
  scale: number;
}

/**
 * {@link causalAttention} of the thirds of `qkv`. Differentiable.
 *
 * @param qkv [batch, pos, 3 · head · d_head]: q of all heads, then k, then v
 * @param options heads, and scale (usually 1 / sqrt(d_head))
 * @returns z [batch, pos, head, d_head]
 * @throws UnfoldError `bad-shape`
 */
export function packedCausalAttention(qkv: tf.Tensor3D, { heads, scale }: Attrs): tf.Tensor4D {
  if (qkv.shape[2] % (3 * heads) !== 0) {
    throw new UnfoldError('bad-shape', {
      where: 'packedCausalAttention',
      expected: `qkv [batch, pos, 3 · ${heads} heads · d_head]`,
      found: `[${qkv.shape}]`,
      todo: 'check the number of heads',
    });
  }
  return runOp(PACKED_ATTENTION, { qkv }, { heads, scale }, packedAttentionComposite)[0] as tf.Tensor4D;
}

/** q, k and v, [batch, pos, head, d_head] each. */
function thirds(qkv: tf.Tensor, heads: number): Record<'q' | 'k' | 'v', tf.Tensor4D> {
  const [batch, pos, width] = qkv.shape as [number, number, number];
  const parts = tf.split(qkv, 3, 2).map((part) => tf.reshape(part, [batch, pos, heads, width / (3 * heads)]));
  const [q, k, v] = parts as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  return { q, k, v };
}

/** The judge: splits, then attends. */
export function packedAttentionComposite({ qkv }: NamedTensors, { heads, scale }: Attrs): tf.Tensor[] {
  const { q, k, v } = thirds(qkv!, heads);
  return [causalAttention(q, k, v, { scale })];
}

tf.registerGradient({
  kernelName: PACKED_ATTENTION,
  inputsToSave: ['qkv'],
  gradFunc: (dy, [qkv], attrs) => ({
    qkv: () =>
      tf.tidy(() => {
        const { heads, scale } = attrs as unknown as Attrs;
        const by = attentionGradients(thirds(qkv!, heads), dy as tf.Tensor, scale);
        const [batch, pos] = qkv!.shape as [number, number];
        return tf.concat(
          [by.q(), by.k(), by.v()].map((part) => tf.reshape(part, [batch, pos, -1])),
          2,
        );
      }),
  }),
});
