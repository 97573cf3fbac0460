import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silent } from '../../src/context.ts';
import {
  bestMatches,
  DetectionCounter,
  meanCorrelation,
  similarity,
  uniqueness,
} from '../../src/synth/recovery.ts';
import { superposition } from '../../src/synth/superposition.ts';
import { synth } from '../../src/synth/synth.ts';
import { runToy } from '../../src/synth/toy.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';

let dir = '';
beforeAll(async () => {
  await useBackend('auto');
  dir = await mkdtemp(join(tmpdir(), 'unfold-synth-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('matching latents with features', () => {
  const directions = () => tf.tensor2d([1, 0, 0, 0, 1, 0, 0, 0, 1], [3, 3]);

  it('goes by |cos|, whatever the sign and length of a decoder row', async () => {
    const decoder = tf.tensor2d([0, -5, 0, 0.1, 0, 0], [2, 3]);
    const alike = await similarity(decoder, directions());
    expect([...bestMatches(alike)]).toEqual([1, 0]);
    expect(uniqueness(bestMatches(alike))).toBe(1);
    expect(meanCorrelation(alike)).toBeCloseTo(1, 6);
  });

  it('two latents after one feature: half as unique, and one of them gets the second best', async () => {
    // cosines with feature 0: 1 and 0.8; with feature 1: 0 and 0.6. The best pairing is 1 + 0.6, not 0.8 + 0.
    const decoder = tf.tensor2d([1, 0, 0, 0.8, 0.6, 0], [2, 3]);
    const alike = await similarity(decoder, directions());
    expect(uniqueness(bestMatches(alike))).toBe(0.5);
    expect(meanCorrelation(alike)).toBeCloseTo(0.8, 6);
  });

  it('precision, recall and F1 of a latent as a detector, averaged over latents', () => {
    const counter = new DetectionCounter(Int32Array.from([0, 2]), 3);
    // Feature 0 fires in rows 0, 1, 2; latent 0 in rows 1, 2, 3. Latent 1 never fires.
    counter.add(Float32Array.from([0, 0, 1, 0, -2, 0, 3, 0]), {
      rows: 4,
      rowStart: Int32Array.from([0, 1, 2, 4, 4]),
      features: Int32Array.from([0, 0, 0, 1]),
      values: Float32Array.from([1, 1, 1, 1]),
    });
    expect(counter.result()).toEqual({ precision: 1 / 3, recall: 1 / 3, f1: 1 / 3 });
    expect(counter.alive).toBe(1);
  });
});

describe('the benchmark', () => {
  it('finds all of 16 orthogonal features, and comes back finished when run again', async () => {
    const settings = {
      model: { preset: 'smoke' as const },
      seeds: [1],
      evaluation_samples: 4096,
      train: {
        d_sae: 16,
        training_tokens: 900_000,
        train_batch_size_tokens: 1024,
        lr: 1e-2,
        coders: { standard: { architecture: 'standard', l1_coefficient: 0.05 } },
      },
    };
    const out = join(dir, 'smoke');
    const { coders } = await synth({ out, settings }, silent());
    expect(coders[0]!.mean.mcc).toBeGreaterThan(0.99);
    expect(coders[0]!.mean.f1).toBeGreaterThan(0.95);
    expect((await synth({ out, settings }, silent())).coders).toEqual(coders);
    expect(JSON.parse(await readFile(join(out, 'synth.json'), 'utf8')).definitions.mcc).toContain(
      'Hungarian',
    );
  });

  it('says which setting is wrong', async () => {
    const settings = { model: { preset: 'smoke' as const, num_features: -1 }, train: { coders: {} } };
    await expect(synth({ out: dir, settings }, silent())).rejects.toThrow(/model\.num_features/);
  });
});

describe('the toy model of superposition', () => {
  const toy = { features: 5, hidden: 2, importance_decay: 0.9, steps: 800, batch: 256, seed: 1 };

  it('gives dense features a dimension each and squeezes sparse ones together', async () => {
    const at = async (probability: number) =>
      (await superposition({ ...toy, probability })).features_per_dimension;
    expect(await at(1)).toBeLessThan(1.3);
    expect(await at(0.05)).toBeGreaterThan(1.8);
  });

  it('draws an SVG', async () => {
    const { picture } = await runToy({ out: join(dir, 'toy'), features: 3, probabilities: [0.5] }, silent());
    expect(await readFile(picture, 'utf8')).toMatch(/^<svg.*50%.*<\/svg>$/s);
  });
});
