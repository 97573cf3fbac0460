/** @file The gradients of tfjs ops against central differences. */
import { beforeAll, expect, it } from 'vitest';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';

beforeAll(async () => {
  await useBackend('cpu');
});

const x = [0.3, -0.7, 1.1, 0.2, -0.4, 0.9];
const other = () => tf.tensor2d([1.2, -0.5, 0.7, 0.4, 2, -1.3], [2, 3]);
const row = () => tf.tensor1d([0.5, -1.5, 2]);

/** Functions of x [2, 3]; values stay away from kinks. */
const ops: Record<string, (x: tf.Tensor2D) => tf.Tensor> = {
  square: tf.square,
  'log of square plus one': (x) => tf.log(tf.add(tf.square(x), 1)),
  log1p: (x) => tf.log1p(x),
  abs: tf.abs,
  relu: tf.relu,
  'sin and cos': (x) => tf.add(tf.sin(x), tf.mul(tf.cos(x), 2)),
  softplus: tf.softplus,
  reciprocal: (x) => tf.reciprocal(tf.add(x, 3)),
  erf: tf.erf,
  'sqrt and rsqrt': (x) => tf.add(tf.sqrt(tf.add(x, 2)), tf.rsqrt(tf.add(x, 3))),
  exp: tf.exp,
  tanh: tf.tanh,
  sigmoid: tf.sigmoid,
  'add, broadcast': (x) => tf.add(row(), x),
  'sub, both sides': (x) => tf.sub(tf.sub(x, row()), tf.sub(row(), tf.mul(x, x))),
  'mul by a column of itself': (x) => tf.mul(x, tf.slice(x, [0, 1], [2, 1])),
  'div by a row of itself': (x) => tf.div(x, tf.add(tf.slice(x, [0, 0], [1, 3]), 3)),
  'maximum and minimum': (x) => tf.sub(tf.maximum(x, row()), tf.minimum(x, other())),
  squaredDifference: (x) => tf.squaredDifference(x, row()),
  matMul: (x) => tf.matMul(x, other(), false, true),
  'matMul, transposed left': (x) => tf.matMul(x, other(), true, false),
  'matMul on the right': (x) => tf.matMul(other(), x, true, false),
  'matMul on the right, transposed': (x) => tf.matMul(other(), x, false, true),
  'sum over an axis': (x) => tf.sum(x, 0),
  'mean over an axis': (x) => tf.mean(x, -1, true),
  'mean over all': (x) => tf.mean(x),
  'max over an axis': (x) => tf.max(x, 1),
  min: (x) => tf.min(x),
  logSumExp: (x) => tf.logSumExp(x, 1),
  softmax: (x) => tf.softmax(x),
  logSoftmax: (x) => tf.logSoftmax(x),
  transpose: (x) => tf.transpose(tf.reshape(x, [1, 2, 3]), [2, 0, 1]),
  slice: (x) => tf.slice(x, [0, 1], [2, 2]),
  'split and concat': (x) => tf.concat(tf.split(x, 3, 1).toReversed(), 0),
  'stack and unstack': (x) => tf.stack(tf.unstack(x, 0).toReversed(), 1),
  tile: (x) => tf.tile(x, [2, 3]),
  pad: (x) =>
    tf.pad(x, [
      [1, 0],
      [0, 2],
    ]),
  expandDims: (x) => tf.expandDims(x, 1),
  clipByValue: (x) => tf.clipByValue(x, -0.5, 0.95),
  gather: (x) => tf.gather(x, tf.tensor2d([1, 0, 1, 1], [2, 2], 'int32')),
  where: (x) => tf.where(tf.tensor1d([1, 0, 1], 'bool'), x, tf.mul(x, x)),
  addN: (x) => tf.addN([x, tf.square(x), other()]),
  cast: (x) => tf.cast(x, 'float32'),
};

it.each(Object.entries(ops))('%s', (_name, op) => {
  const weights = tf.tidy(() => {
    const size = op(tf.tensor2d(x, [2, 3])).size;
    return Float32Array.from({ length: size }, (_, i) => 1 + ((i * 7) % 5) / 3);
  });
  const value = (at: tf.Tensor): tf.Scalar => {
    const y = op(at as tf.Tensor2D);
    return tf.sum(tf.mul(tf.reshape(y, [y.size]), tf.tensor1d(weights))) as tf.Scalar;
  };
  const gradient = tf.tidy(() =>
    tf
      .grad(value)(tf.tensor2d(x, [2, 3]))
      .dataSync(),
  );
  // Float32 values of order 10 carry errors of 1e-6; divided by twice the step, 1e-3.
  const step = 4e-3;
  x.forEach((_, i) => {
    const moved = (by: number) => x.map((v, j) => (j === i ? v + by : v));
    const at = (by: number) => tf.tidy(() => value(tf.tensor2d(moved(by), [2, 3])).dataSync()[0]!);
    expect(Math.abs(gradient[i]! - (at(step) - at(-step)) / (2 * step))).toBeLessThan(4e-3);
  });
});

it('an op without a gradient is named in the error', () => {
  const run = () => tf.tidy(() => tf.grad((t) => tf.sum(tf.cumsum(t, 1)))(tf.tensor2d(x, [2, 3])));
  expect(run).toThrow(/Cumsum/);
});
