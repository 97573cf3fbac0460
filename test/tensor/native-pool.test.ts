import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../src/tensor/backend.ts';
import { nativeBackend } from '../../src/tensor/backends/native.ts';
import { BufferPool } from '../../src/tensor/backends/native-pool.ts';
import * as tf from '../../src/tensor/tf.ts';

const KB64 = 64 * 1024;

describe('BufferPool', () => {
  it('gives a buffer out again once the last array in it is released', () => {
    const pool = new BufferPool(2 ** 20);
    const first = pool.take(KB64);
    pool.retain(first);
    pool.retain(first);
    pool.release(first);
    expect(pool.take(KB64)).not.toBe(first);
    pool.release(first);
    expect(pool.take(KB64)).toBe(first);
  });

  it('never gives an escaped buffer out again', () => {
    const pool = new BufferPool(2 ** 20);
    const first = pool.take(KB64);
    pool.retain(first);
    pool.escape(first);
    pool.release(first);
    expect(pool.take(KB64)).not.toBe(first);
  });

  it('keeps at most its limit, and lets the size that waited longest go first', () => {
    const pool = new BufferPool(3 * KB64);
    const sizes = [KB64, 2 * KB64, KB64 + 4];
    for (const buffer of sizes.map((size) => pool.take(size))) {
      pool.retain(buffer);
      pool.release(buffer);
    }
    expect(pool.statistics()).toMatchObject({ idleBuffers: 1, idleBytes: KB64 + 4 });
  });

  it('takes no interest in buffers that it did not make', () => {
    const pool = new BufferPool(2 ** 20);
    const theirs = new ArrayBuffer(KB64);
    pool.retain(theirs);
    pool.release(theirs);
    expect(pool.statistics().idleBuffers).toBe(0);
  });
});

describe('memory of backend native', () => {
  beforeAll(async () => {
    await useBackend('native');
  });

  const ones = () => tf.add(tf.zeros([100, 100]), 1);
  const overwrite = () => {
    for (let i = 0; i < 4; i++) tf.tidy(() => tf.mul(tf.add(tf.zeros([100, 100]), 5), 7).shape);
  };

  it('leaves what dataSync returned alone after the tensor is gone', () => {
    const tensor = ones();
    const seen = tensor.dataSync();
    tensor.dispose();
    overwrite();
    expect(new Set(seen)).toEqual(new Set([1]));
  });

  it('leaves what data() returned alone', async () => {
    const tensor = ones();
    const seen = await tensor.data();
    tensor.dispose();
    overwrite();
    expect(new Set(seen)).toEqual(new Set([1]));
  });

  it('keeps memory that a contiguous slice still shows', () => {
    const tensor = ones();
    const slice = tf.slice(tensor, [10, 0], [80, 100]);
    tensor.dispose();
    overwrite();
    expect(new Set(slice.dataSync())).toEqual(new Set([1]));
    slice.dispose();
  });

  it('keeps memory that a reshape still shows', () => {
    const tensor = ones();
    const flat = tf.reshape(tensor, [-1]);
    tensor.dispose();
    overwrite();
    expect(new Set(flat.dataSync())).toEqual(new Set([1]));
    flat.dispose();
  });

  it("never recycles a user's own array", () => {
    const mine = new Float32Array(10_000).fill(3);
    tf.tensor(mine, [100, 100]).dispose();
    overwrite();
    expect(new Set(mine)).toEqual(new Set([3]));
  });

  it('gives a tensor that is changed in place memory of its own where others see the old', () => {
    const backend = nativeBackend()!;
    const tensor = ones();
    const seen = tensor.dataSync();
    const slice = tf.slice(tensor, [0, 0], [50, 100]);
    backend.writable(tensor).fill(9);
    expect(new Set(seen)).toEqual(new Set([1]));
    expect(new Set(slice.dataSync())).toEqual(new Set([1]));
    const own = backend.writable(tensor);
    expect(own[0]).toBe(9);
    expect(backend.writable(tensor)).toBe(own);
    tf.dispose([tensor, slice]);
  });

  it('finds tensors and resident memory where they were after many steps', () => {
    const W = tf.variable(tf.randomNormal([512, 512]));
    const step = () =>
      tf.tidy(() => {
        const x = tf.matMul(tf.fill([2048, 512], 0.5), W);
        W.assign(tf.sub(W, tf.mul(tf.slice(tf.softmax(x), [0, 0], [512, 512]), 1e-3)));
      });
    for (let i = 0; i < 5; i++) step();
    const { numTensors, numDataBuffers } = tf.memory();
    const resident = process.memoryUsage.rss();
    const { allocated } = nativeBackend()!.poolStatistics();
    for (let i = 0; i < 40; i++) step();
    expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers });
    expect(nativeBackend()!.poolStatistics().allocated).toBe(allocated);
    // One step makes 13 MB: forty of them without reuse would be 500.
    expect(process.memoryUsage.rss() - resident).toBeLessThan(60 * 2 ** 20);
    W.dispose();
  });
});
