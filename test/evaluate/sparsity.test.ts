import { describe, expect, it } from 'vitest';
import { sparseFromDense, sparseFromPairs } from '../../src/evaluate/sparse-rows.ts';
import { SparsityAccumulator } from '../../src/evaluate/sparsity.ts';

// Four rows of three latents; rows 0 and 1 are one context, 2 and 3 another. Latent 2 never fires.
const DENSE = Float32Array.of(1, 0, 0, 3, 0.5, 0, 0, 0, 0, 2, 0, 0);
const CONTEXTS = [0, 0, 1, 1];

function accumulate(...cuts: [from: number, to: number][]): SparsityAccumulator {
  const accumulator = new SparsityAccumulator(3);
  for (const [from, to] of cuts) {
    accumulator.add(
      sparseFromDense(DENSE.subarray(from * 3, to * 3), to - from, 3),
      CONTEXTS.slice(from, to),
    );
  }
  return accumulator;
}

describe('sparsity metrics', () => {
  it('count what fires in four rows of three latents', () => {
    const metrics = accumulate([0, 4]).result();
    expect(metrics).toMatchObject({
      l0: 1,
      l1: 6.5 / 4,
      n_dead: 1,
      n_dense_over_1_percent: 2,
      n_dense_over_10_percent: 2,
    });
    expect(metrics.frac_alive).toBeCloseTo(2 / 3, 12);
  });

  it('know of every latent how often, how hard and in how many contexts it fires', () => {
    const latents = accumulate([0, 4]).latents();
    expect([...latents.feature_density]).toEqual([0.75, 0.25, 0]);
    expect([...latents.max_activation]).toEqual([3, 0.5, 0]);
    expect([...latents.mean_activation]).toEqual([2, 0.5, Number.NaN]);
    expect([...latents.consistent_activation_heuristic]).toEqual([1.5, 1, Number.NaN]);
  });

  it('do not depend on the cut, even through the middle of a context', () => {
    const whole = accumulate([0, 4]);
    const cut = accumulate([0, 1], [1, 3], [3, 4]);
    expect(cut.result()).toEqual(whole.result());
    expect(cut.latents()).toEqual(whole.latents());
    expect(cut.histogram()).toEqual(whole.histogram());
  });

  it('put densities into quarter decades and the dead beside them', () => {
    const histogram = accumulate([0, 4]).histogram();
    expect(histogram.never_fired).toBe(1);
    // log10 0.75 = -0.125 is in the last bin, log10 0.25 = -0.602 in [-0.75, -0.5)
    expect(histogram.counts.at(-1)).toBe(1);
    expect(histogram.counts[histogram.log10_edges.indexOf(-0.75)]).toBe(1);
    expect(histogram.counts.reduce((a, b) => a + b)).toBe(2);
  });

  it('are the same from dense activations and from (value, index) pairs with unfired ones among them', () => {
    const values = Float32Array.of(1, 0, 3, 0.5, 0, 0, 2, 0);
    const indices = Int32Array.of(0, 1, 0, 1, 2, 0, 0, 2);
    const fromPairs = sparseFromPairs(values, indices, 4, 2);
    expect(fromPairs).toEqual(sparseFromDense(DENSE, 4, 3));
  });
});
