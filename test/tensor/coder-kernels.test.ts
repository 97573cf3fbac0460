import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../src/tensor/backend.ts';
import { backends } from '../../src/tensor/backends/table.ts';
import { encodeTopK } from '../../src/tensor/kernels/encode-topk.ts';
import { sparseDecode } from '../../src/tensor/kernels/sparse-decode.ts';
import * as tf from '../../src/tensor/tf.ts';
import { coderKernelSuite } from '../suites/coder-kernels.ts';

for (const name of ['cpu', 'native', 'wasm', 'tensorflow'] as const) {
  const { usable, detail } = await backends[name].availability();
  if (!usable) process.stderr.write(`coder kernels on ${name}: not tested, ${detail}\n`);
  else {
    describe(`coder kernels on ${name}`, () => {
      beforeAll(async () => {
        await useBackend(name);
      });
      coderKernelSuite();
    });
  }
}

describe('native only', () => {
  beforeAll(async () => {
    await useBackend('native');
  });

  it('an index outside the weights throws and reads nothing', () => {
    const W = tf.ones([3, 2]) as tf.Tensor2D;
    for (const wrong of [3, -1]) {
      const indices = tf.tensor2d([[wrong]], [1, 1], 'int32');
      expect(() => sparseDecode(tf.ones([1, 1]), indices, W)).toThrow(/index -?\d+ at entry 0/);
    }
  });

  it('more rows and latents than one tile give what each row gives alone', () => {
    const random = (shape: [number, number], seed: number): tf.Tensor2D =>
      tf.randomUniform(shape, -1, 1, 'float32', seed);
    const [x, W] = [random([1100, 24], 1), random([1700, 24], 2)];
    const b = tf.randomUniform([1700], -1, 1, 'float32', 3) as tf.Tensor1D;
    const all = encodeTopK(x, W, b, 20);
    for (const row of [0, 511, 512, 1024, 1099]) {
      const one = encodeTopK(tf.slice2d(x, [row, 0], [1, 24]), W, b, 20);
      const values = all.values.dataSync().slice(row * 20, row * 20 + 20);
      // Two shapes of the same product may round differently in the last place.
      one.values.dataSync().forEach((value, j) => {
        expect(Math.abs(value - values[j]!)).toBeLessThan(1e-5);
      });
    }
  });
});
