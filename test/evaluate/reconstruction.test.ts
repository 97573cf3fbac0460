import { describe, expect, it } from 'vitest';
import { ReconstructionAccumulator } from '../../src/evaluate/reconstruction.ts';
import { Random } from '../../src/random.ts';

const WIDTH = 5;
const ROWS = 40;

function normals(seed: number, count: number): Float32Array {
  const random = Random.of(seed, 'rows');
  return Float32Array.from({ length: count }, () => random.normal());
}

function measure(x: Float32Array, xhat: Float32Array, width: number, cuts: number[] = []) {
  const accumulator = new ReconstructionAccumulator(width);
  const bounds = [0, ...cuts, x.length / width];
  for (let i = 1; i < bounds.length; i++) {
    const [from, to] = [bounds[i - 1]! * width, bounds[i]! * width];
    accumulator.add(x.subarray(from, to), xhat.subarray(from, to), (to - from) / width);
  }
  return accumulator.result();
}

describe('reconstruction metrics', () => {
  const x = normals(1, ROWS * WIDTH);
  const noise = normals(2, ROWS * WIDTH);
  const xhat = x.map((value, i) => value + 0.3 * noise[i]!);

  it('give a perfect coder explained variance 1, error 0, cosine 1 and no shrinkage', () => {
    const metrics = measure(x, x, WIDTH);
    expect(metrics.explained_variance).toBe(1);
    expect(metrics.explained_variance_legacy).toBe(1);
    expect(metrics.fvu).toBe(0);
    expect(metrics.mse).toBe(0);
    expect(metrics.cossim).toBeCloseTo(1, 12);
    expect(metrics.l2_ratio).toBeCloseTo(1, 12);
    expect(metrics.relative_reconstruction_bias).toBe(1);
  });

  it('give a coder that always predicts the mean explained variance 0', () => {
    const mean = Array.from({ length: WIDTH }, (_, i) => {
      let sum = 0;
      for (let row = 0; row < ROWS; row++) sum += x[row * WIDTH + i]! / ROWS;
      return sum;
    });
    const predicted = x.map((_, i) => mean[i % WIDTH]!);
    // float32 rounding of the mean, relative to a variance of about 1
    expect(measure(x, predicted, WIDTH).explained_variance).toBeCloseTo(0, 6);
  });

  it('punish a constant bias, to which var(x - xhat) is blind', () => {
    const biased = x.map((value) => value + 1);
    expect(measure(x, biased, WIDTH).explained_variance).toBeLessThan(0.1);
    expect(measure(x, biased, WIDTH).mse).toBeCloseTo(WIDTH, 5);
  });

  it('do not depend on how the rows are cut into batches, to the last bit', () => {
    const {
      explained_variance_legacy: _a,
      relative_reconstruction_bias_legacy: _b,
      ...whole
    } = measure(x, xhat, WIDTH);
    for (const cuts of [[1], [20], [7, 8, 31], Array.from({ length: ROWS - 1 }, (_, i) => i + 1)]) {
      expect(measure(x, xhat, WIDTH, cuts)).toMatchObject(whole);
    }
  });

  it('compute the two rows (3,4) -> (3,0) and (0,2) -> (0,1) as by hand', () => {
    const metrics = measure(Float32Array.of(3, 4, 0, 2), Float32Array.of(3, 0, 0, 1), 2);
    // errors 16 and 1; mean (1.5, 3); squared distances from it 3.25 and 3.25
    expect(metrics.mse).toBe(8.5);
    expect(metrics.explained_variance).toBeCloseTo(1 - 17 / 6.5, 12);
    expect(metrics.explained_variance_legacy).toBeCloseTo((1 - 16 / 3.25 + (1 - 1 / 3.25)) / 2, 12);
    expect(metrics.cossim).toBeCloseTo((9 / 15 + 1) / 2, 12);
    expect(metrics.l2_ratio).toBeCloseTo((3 / 5 + 1 / 2) / 2, 12);
    expect(metrics.relative_reconstruction_bias).toBeCloseTo((9 + 1) / (9 + 2), 12);
    expect([metrics.l2_norm_in, metrics.l2_norm_out]).toEqual([3.5, 2]);
  });

  it('keep their precision under an offset a thousand times the variation', () => {
    const offset = (values: Float32Array) => values.map((value) => Math.fround(value + 1000));
    const [far, farHat] = [offset(x), offset(xhat)];
    const near = far.map((value) => value - 1000);
    const nearHat = farHat.map((value) => value - 1000);
    const expected = measure(near, nearHat, WIDTH).explained_variance!;
    expect(measure(far, farHat, WIDTH).explained_variance).toBeCloseTo(expected, 10);
  });

  it('call rows that do not vary explained if they are reproduced and unexplained if not', () => {
    const constant = new Float32Array(10).fill(2);
    expect(measure(constant, constant, 5).explained_variance).toBe(1);
    expect(measure(constant, new Float32Array(10), 5).explained_variance).toBe(0);
  });

  it('are absent, not zero, when there was no row', () => {
    expect(new ReconstructionAccumulator(3).result()).toEqual({});
  });
});
