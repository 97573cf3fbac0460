import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { expectClose } from '../suites/numbers.ts';
import { opCases, runOpCase } from '../suites/op-cases.ts';

beforeAll(async () => {
  await useBackend('cpu');
  await useBackend('native');
});

const on = (backend: string, index: number) => {
  tf.setBackend(backend);
  return tf.tidy(() =>
    runOpCase(index).map((t) => ({ shape: t.shape, dtype: t.dtype, values: t.dataSync() })),
  );
};

describe('every op that native overrides agrees with the cpu backend', () => {
  for (const [index, [name]] of opCases.entries()) {
    it(name, () => {
      const expected = on('cpu', index);
      const found = on('native', index);
      expect(found.map(({ shape, dtype }) => ({ shape, dtype }))).toEqual(
        expected.map(({ shape, dtype }) => ({ shape, dtype })),
      );
      // A few units in the last place; sums of 130 products of size 9 cancel, so their error is of a larger number.
      const tolerance = name.startsWith('matMul') ? 3e-5 : 5e-6;
      for (const [i, { values }] of found.entries()) expectClose(values, expected[i]!.values, tolerance);
    });
  }
});

describe('native', () => {
  beforeAll(() => {
    tf.setBackend('native');
  });

  it('broadcasts batches of matrices along some axes only', () => {
    const a = tf.tensor([1, 2, 3, 4], [2, 1, 1, 2]);
    const b = tf.tensor([1, 0, 0, 1, 1, 1], [1, 3, 2, 1]);
    expect([...tf.matMul(a, b).dataSync()]).toEqual([1, 2, 3, 3, 4, 7]);
  });

  it('ranks NaN above everything, so that it cannot hide', () => {
    const { values, indices } = tf.topk(tf.tensor1d([1, Number.NaN, 5, Number.NaN]), 3);
    expect([...values.dataSync()]).toEqual([Number.NaN, Number.NaN, 5]);
    expect([...indices.dataSync()]).toEqual([1, 3, 2]);
  });

  it('says which index is outside of the gathered axis', () => {
    const before = tf.memory().numDataBuffers;
    tf.tidy(() => {
      expect(() => tf.gather(tf.ones([3, 2]), tf.tensor1d([0, 3], 'int32'))).toThrow(
        'index 3 is not in [0, 3)',
      );
    });
    expect(tf.memory().numDataBuffers).toBe(before);
  });

  it('repeats itself bit for bit', () => {
    const x = tf.randomNormal([300, 500], 0, 1, 'float32', 7);
    const step = () =>
      tf.tidy(() =>
        tf
          .softmax(tf.matMul(x, x, true, false))
          .dataSync()
          .slice(),
      );
    expect(Buffer.from(step().buffer).equals(Buffer.from(step().buffer))).toBe(true);
  });
});
