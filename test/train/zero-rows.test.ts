/** @file Rows that are all 0: a scale that does not exist is said, and a row of zeros stays one. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { normalizeRows, restoreRows } from '../../src/coders/rows.ts';
import { silent } from '../../src/context.ts';
import { explainedVariance } from '../../src/explained-variance.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import type { TrainSettingsInput } from '../../src/train/settings.ts';
import { train } from '../../src/train/train.ts';
import { SETTINGS } from './settings-of-tests.ts';
import { HOOK, syntheticSource } from './support.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-zero-'));
  await useBackend('cpu');
});
afterAll(() => rm(scratch, { recursive: true }));

/** Trains with every row at 0, or only the first of each block, and gives the metrics. */
async function trained(name: string, which: 'all' | 'first', settings: TrainSettingsInput) {
  const rows = syntheticSource({
    spoil: (block) => void block.activations.get(HOOK)!.fill(0, 0, which === 'all' ? undefined : HOOK_WIDTH),
  });
  const out = join(scratch, name);
  await train({ out, rows, settings: { ...SETTINGS.topk, ...settings, training_tokens: 960 } }, silent());
  const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, number | null>);
}
const HOOK_WIDTH = 8;

it('rows that are all 0 have no scale, and the hook is named', async () => {
  const settings = { normalize_activations: 'expected_average_only_in' } as const;
  await expect(trained('scaled', 'all', settings)).rejects.toMatchObject({
    kind: 'no-scale',
    message: expect.stringMatching(
      `rows of ${HOOK}[\\s\\S]*mean norm of 0[\\s\\S]*normalize_activations to none`,
    ),
  });
});

it.each(['none', 'layer_norm', 'constant_norm_rescale', 'covariance_whitening'] as const)(
  'under %s all numbers stay finite, whether all rows are 0 or some',
  async (normalize_activations) => {
    for (const which of ['all', 'first'] as const) {
      const lines = await trained(`${normalize_activations}-${which}`, which, { normalize_activations });
      expect(lines.length).toBeGreaterThan(0);
      for (const line of lines)
        expect(Object.entries(line).filter(([, value]) => value === null)).toEqual([]);
    }
  },
);

it.each(['layer_norm', 'constant_norm_rescale'] as const)(
  '%s leaves a row of zeros at 0, both ways',
  (kind) => {
    const x = tf.tensor2d([0, 0, 0, 3, 0, 4], [2, 3]);
    const normalized = normalizeRows(x, kind);
    const back = restoreRows(tf.tensor2d([1, 2, 3, ...normalized.rows.arraySync()[1]!], [2, 3]), normalized);
    expect(normalized.rows.arraySync()[0]).toEqual([0, 0, 0]);
    const [zero, other] = back.arraySync();
    expect(zero).toEqual([0, 0, 0]);
    expect(Math.hypot(other![0]! - 3, other![1]!, other![2]! - 4)).toBeLessThan(1e-3);
    const narrow = normalizeRows(tf.tensor2d([5, 0], [2, 1]), kind);
    expect(narrow.rows.arraySync().flat().every(Number.isFinite)).toBe(true);
  },
);

it('explained variance of what does not vary is 1 if reproduced and 0 if not', () => {
  expect([explainedVariance(0, 0), explainedVariance(1, 0), explainedVariance(1, 4)]).toEqual([1, 0, 0.75]);
});
