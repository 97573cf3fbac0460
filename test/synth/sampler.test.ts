import { beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../../src/random.ts';
import { syntheticModelSchema } from '../../src/synth/config.ts';
import { interferenceGradient } from '../../src/synth/dictionary.ts';
import { compensated, growForest } from '../../src/synth/hierarchy.ts';
import { type FeatureActivations, FeatureSampler } from '../../src/synth/sampler.ts';
import { SyntheticModel, syntheticSource } from '../../src/synth/source.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';

beforeAll(async () => {
  await useBackend('cpu');
});

const tree = {
  total_root_nodes: 2,
  branching_factor: 2,
  max_depth: 2,
  mutually_exclusive_portion: 1,
  compensate_probabilities: false,
  scale_children_by_parent: false,
};

/** Active features of every row. */
function sets({ rows, rowStart, features }: FeatureActivations): Set<number>[] {
  return Array.from(
    { length: rows },
    (_, row) => new Set(features.subarray(rowStart[row], rowStart[row + 1])),
  );
}

describe('a forest', () => {
  it('grows breadth first: roots, then their children, then theirs', () => {
    const { parent, children } = growForest(16, tree, Random.of(1));
    expect([...parent]).toEqual([-1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, -1, -1]);
    expect(children[2]).toEqual([6, 7]);
  });

  it('compensation divides by the parent and makes up for exclusive rivals', () => {
    const forest = growForest(4, { ...tree, total_root_nodes: 1, max_depth: 1 }, Random.of(1));
    const p = compensated(Float64Array.from([0.5, 0.1, 0.2, 0.05]), forest);
    // 0.1 / 0.5 · (1 + 0.2 / 0.5), 0.2 / 0.5 · (1 + 0.1 / 0.5); feature 3 is outside the tree.
    expect([...p].map((x) => x.toFixed(6))).toEqual(['0.500000', '0.280000', '0.480000', '0.050000']);
  });
});

describe('feature activations', () => {
  const config = syntheticModelSchema.parse({
    num_features: 20,
    hidden_dim: 8,
    firing_probability: { exponent: 0.5, max_prob: 0.5, min_prob: 0.1 },
    hierarchy: tree,
    correlation: { rank: 3, correlation_scale: 0.3 },
    mean_firing_magnitudes: 2,
    std_firing_magnitudes: 0.1,
  });

  it('children fire only with their parent, exclusive ones one at a time', () => {
    const sampler = new FeatureSampler(config);
    const { parent } = sampler.forest!;
    for (const active of sets(sampler.sample(2000, 'train', 0))) {
      const parents = [...active].map((feature) => parent[feature]!).filter((above) => above >= 0);
      for (const above of parents) expect(active.has(above)).toBe(true);
      expect(new Set(parents).size).toBe(parents.length);
    }
  });

  it('each free feature fires as often as asked for, whatever is shared', () => {
    const free = syntheticModelSchema.parse({ ...config, hierarchy: null });
    const sampler = new FeatureSampler(free);
    const rows = 40_000;
    const counts = new Float64Array(20);
    for (const feature of sampler.sample(rows, 'train', 0).features) counts[feature]!++;
    counts.forEach((count, feature) => {
      const p = sampler.probabilities[feature]!;
      // Correlated rows would widen it; rows are independent: four standard errors.
      expect(Math.abs(count / rows - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / rows));
    });
  });

  it('features with like factors fire together more often than apart', () => {
    const strong = syntheticModelSchema.parse({
      ...config,
      hierarchy: null,
      correlation: { rank: 1, correlation_scale: 3 },
    });
    const sampler = new FeatureSampler(strong);
    const active = sets(sampler.sample(20_000, 'train', 0));
    const share = (test: (row: Set<number>) => boolean) => active.filter(test).length / active.length;
    const excess = (j: number) =>
      share((row) => row.has(0) && row.has(j)) - share((row) => row.has(0)) * share((row) => row.has(j));
    // A factor of rank one and size 0.99: every pair moves together or apart, and strongly.
    expect([1, 2, 3, 4].every((j) => Math.abs(excess(j)) > 0.03)).toBe(true);
  });

  it('a block depends on its number alone', () => {
    const [a, b] = [new FeatureSampler(config), new FeatureSampler(config)];
    a.sample(100, 'train', 0);
    expect(a.sample(100, 'train', 5)).toEqual(b.sample(100, 'train', 5));
    expect(a.sample(100, 'evaluate', 5).features).not.toEqual(b.sample(100, 'train', 5).features);
  });
});

describe('a synthetic model', () => {
  it('its rows are sums of directions and the bias', async () => {
    const model = await SyntheticModel.create(
      syntheticModelSchema.parse({ num_features: 3, hidden_dim: 4, bias: 0.5 }),
    );
    const rows = model.rowsOf({
      rows: 2,
      rowStart: Int32Array.from([0, 2, 2]),
      features: Int32Array.from([0, 2]),
      values: Float32Array.from([2, 3]),
    });
    const [d0, , d2] = model.directions.arraySync() as number[][];
    const bias = model.bias.arraySync() as number[];
    const [first, second] = rows.arraySync() as number[][];
    const expected = d0!.map((x, i) => 2 * x + 3 * d2![i]! + bias[i]!);
    for (const [i, x] of first!.entries()) expect(x).toBeCloseTo(expected[i]!, 5);
    expect(second).toEqual(bias);
    expect(Math.hypot(...bias)).toBeCloseTo(0.5, 5);
    expect(Math.hypot(...d0!)).toBeCloseTo(1, 5);
    model.dispose();
  });

  it('orthogonal directions where there is room, by gradients that finite differences confirm', async () => {
    const model = await SyntheticModel.create(
      syntheticModelSchema.parse({
        num_features: 4,
        hidden_dim: 8,
        orthogonalization: { num_steps: 200, lr: 0.01 },
      }),
    );
    const gram = tf.matMul(model.directions, model.directions, false, true).arraySync() as number[][];
    for (const [at, x] of gram.flat().entries()) expect(x).toBeCloseTo(at % 5 === 0 ? 1 : 0, 3);
    const E = tf.tensor2d([0.5, 1, -0.3, 0.2, 0.9, 0.4], [3, 2]);
    const loss = (values: number[]) => {
      const rows = [values.slice(0, 2), values.slice(2, 4), values.slice(4)];
      const dot = (a: number[], b: number[]) => a[0]! * b[0]! + a[1]! * b[1]!;
      const terms = rows.flatMap((a, i) =>
        rows.map((b, j) => (i === j ? 3 * (dot(a, a) - 1) ** 2 : dot(a, b) ** 2)),
      );
      return terms.reduce((sum, term) => sum + term, 0);
    };
    const at = Array.from(E.dataSync());
    Array.from(interferenceGradient(E).dataSync()).forEach((slope, i) => {
      const moved = (by: number) => loss(at.map((x, j) => (i === j ? x + by : x)));
      expect(slope).toBeCloseTo((moved(1e-4) - moved(-1e-4)) / 2e-4, 3);
    });
  });

  it('is a source of blocks: as many rows as asked for, the same when read again', async () => {
    const model = await SyntheticModel.create(syntheticModelSchema.parse({ num_features: 8, hidden_dim: 4 }));
    const source = syntheticSource(model, 5000);
    expect([...source.blockRows]).toEqual([4096, 4096]);
    const [a, b] = [await source.readBlock(1), await source.readBlock(1)];
    expect(a.activations.get('synthetic')).toEqual(b.activations.get('synthetic'));
  });
});
