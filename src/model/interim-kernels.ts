import * as tf from '../tensor/tf.ts';
export function layerNorm(
  x: tf.Tensor,
  gamma: tf.Tensor | undefined,
  beta: tf.Tensor | undefined,
  eps: number,
): tf.Tensor {
  const c = tf.sub(x, tf.mean(x, -1, true));
  const n = tf.div(c, tf.sqrt(tf.add(tf.mean(tf.square(c), -1, true), eps)));
  return gamma ? tf.add(tf.mul(n, gamma), beta!) : n;
}
export function gelu(x: tf.Tensor, kind: 'gelu_new' | 'gelu'): tf.Tensor {
  if (kind === 'gelu') return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2))));
  const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.mul(x, tf.mul(x, x)))));
  return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.tanh(inner)));
}
export function linear(x: tf.Tensor, W: tf.Tensor2D, b?: tf.Tensor1D): tf.Tensor {
  const y = tf.matMul(tf.reshape(x, [-1, W.shape[0]]), W);
  return tf.reshape(b ? tf.add(y, b) : y, [...x.shape.slice(0, -1), W.shape[1]]);
}
export function causalAttention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  { scale }: { scale: number },
): tf.Tensor4D {
  const by = (t: tf.Tensor4D) => tf.transpose(t, [0, 2, 1, 3]);
  const [n, m] = [q.shape[1], k.shape[1]];
  const mask = tf.tensor4d(
    Uint8Array.from({ length: n * m }, (_, i) => (i % m <= Math.floor(i / m) + m - n ? 1 : 0)),
    [1, 1, n, m],
    'bool',
  );
  const s = tf.where(mask, tf.mul(tf.matMul(by(q), by(k), false, true), scale), -1e30);
  return tf.transpose(tf.matMul(tf.softmax(s), by(v)), [0, 2, 1, 3]) as tf.Tensor4D;
}
