/**
 * @file Causal self-attention of all heads in one op. The native kernel keeps a tile of scores at a time, as
 * FlashAttention (Dao et al. 2022) does on a GPU; the composite makes the whole pattern. There is no dropout.
 */
import { UnfoldError } from '../../errors.ts';
import * as tf from '../tf.ts';
import { type NamedTensors, runOp } from './composite.ts';

/** Name under which backends register this kernel. */
export const CAUSAL_ATTENTION = 'UnfoldCausalAttention';

interface Attrs {
  scale: number;
}

/**
 * softmax(scale · q kᵀ, masked) v for each head. With a key/value cache k and v hold earlier positions in front: query i
 * of n_q sees keys 0 … i + n_k - n_q. Differentiable in q, k and v.
 *
 * @param q [batch, n_q, head, d_head] @param k [batch, n_k, head, d_head], n_k >= n_q @param v [batch, n_k, head, d_v]
 * @param options scale: usually 1 / sqrt(d_head)
 * @returns z [batch, n_q, head, d_v]
 * @throws UnfoldError `bad-shape`
 */
export function causalAttention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  { scale }: Attrs,
): tf.Tensor4D {
  check(q, k, v);
  return runOp(CAUSAL_ATTENTION, { q, k, v }, { scale }, causalAttentionComposite)[0] as tf.Tensor4D;
}

function check(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D): void {
  const [batch, queries, heads, d_head] = q.shape;
  const keys = k.shape[1];
  const fits =
    keys >= queries &&
    tf.util.arraysEqual(k.shape, [batch, keys, heads, d_head]) &&
    tf.util.arraysEqual(v.shape.slice(0, 3), [batch, keys, heads]);
  if (fits) return;
  throw new UnfoldError('bad-shape', {
    where: 'causalAttention',
    expected:
      'q [batch, n_q, head, d_head], k [batch, n_k, head, d_head], v [batch, n_k, head, d_v], n_k >= n_q',
    found: `q [${q.shape}], k [${k.shape}], v [${v.shape}]`,
    todo: 'give every query its own key and value',
  });
}

const byHead = (t: tf.Tensor): tf.Tensor4D => tf.transpose(t as tf.Tensor4D, [0, 2, 1, 3]);

/** [batch, head, n_q, n_k]: the attention pattern, zero where a key comes after its query. */
function pattern(q: tf.Tensor, k: tf.Tensor, scale: number): tf.Tensor4D {
  const [queries, keys] = [q.shape[1]!, k.shape[1]!];
  const scores = tf.mul(tf.matMul(byHead(q), byHead(k), false, true), scale);
  const rows = tf.reshape(tf.range(keys - queries, keys, 1, 'int32'), [queries, 1]);
  const seen = tf.lessEqual(tf.reshape(tf.range(0, keys, 1, 'int32'), [1, keys]), rows);
  return tf.softmax(tf.where(seen, scores, Number.NEGATIVE_INFINITY)) as tf.Tensor4D;
}

/** The judge: plain tfjs ops. */
export function causalAttentionComposite({ q, k, v }: NamedTensors, { scale }: Attrs): tf.Tensor[] {
  if (q!.size === 0) return [tf.zeros([...q!.shape.slice(0, 3), v!.shape[3]!])];
  return [byHead(tf.matMul(pattern(q!, k!, scale), byHead(v!)))];
}

/** Gradients by q, k and v for dL/dz: the pattern is computed again rather than kept. */
function attentionGradients(
  { q, k, v }: Record<'q' | 'k' | 'v', tf.Tensor>,
  dz: tf.Tensor,
  scale: number,
): Record<'q' | 'k' | 'v', () => tf.Tensor4D> {
  const dScores = () => {
    const p = pattern(q, k, scale);
    const dPattern = tf.matMul(byHead(dz), byHead(v), false, true);
    const weighted = tf.mul(dPattern, p);
    return tf.mul(tf.sub(weighted, tf.mul(p, tf.sum(weighted, -1, true))), scale);
  };
  return {
    q: () => tf.tidy(() => byHead(tf.matMul(dScores(), byHead(k)))),
    k: () => tf.tidy(() => byHead(tf.matMul(dScores(), byHead(q), true, false))),
    v: () => tf.tidy(() => byHead(tf.matMul(pattern(q, k, scale), byHead(dz), true, false))),
  };
}

tf.registerGradient({
  kernelName: CAUSAL_ATTENTION,
  inputsToSave: ['q', 'k', 'v'],
  gradFunc: (dy, saved, attrs) => {
    const [q, k, v] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
    return attentionGradients({ q, k, v }, dy as tf.Tensor, (attrs as unknown as Attrs).scale);
  },
});
