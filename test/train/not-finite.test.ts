import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadCoder } from '../../src/coders/coder.ts';
import { silent } from '../../src/context.ts';
import type { UnfoldError } from '../../src/errors.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { checkpointSteps } from '../../src/train/checkpoint.ts';
import type { TrainSettingsInput } from '../../src/train/settings.ts';
import { train } from '../../src/train/train.ts';
import { SETTINGS } from './settings-of-tests.ts';
import { HOOK, syntheticSource } from './support.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-nan-'));
  await useBackend('cpu');
});
afterAll(() => rm(scratch, { recursive: true }));

/** Trains with one spoilt number in the block of context 9, position 5. */
async function spoilt(out: string, value: number, settings: TrainSettingsInput): Promise<UnfoldError> {
  const rows = syntheticSource({
    spoil(block, index) {
      if (index === 9) block.activations.get(HOOK)![5 * 8 + 2] = value;
    },
  });
  return train({ out, rows, settings: { ...settings, norm_estimate_rows: 32 } }, silent()).then(
    () => Promise.reject(new Error('trained')),
    (error: UnfoldError) => error,
  );
}

it.each([Number.NaN, Number.POSITIVE_INFINITY])(
  '%d in a row stops training and names step, context and position',
  async (value) => {
    const out = join(scratch, `${value}`);
    const error = await spoilt(out, value, { ...SETTINGS.topk, checkpoint_every_steps: 1 });
    expect(error.kind).toBe('not-finite');
    expect(error.message).toMatch(/training step \d+/);
    expect(error.message).toMatch(/context 9 at position 5/);
  },
);

it('a run that diverges stops, names the term of the loss, and keeps its last good checkpoint', async () => {
  const out = join(scratch, 'diverging');
  const settings = {
    ...SETTINGS.standard,
    lr: 1e30,
    lr_warm_up_steps: 0,
    l1_warm_up_steps: 0,
    max_grad_norm: null,
    checkpoint_every_steps: 1,
  };
  const error = await train({ out, rows: syntheticSource(), settings }, silent()).then(
    () => Promise.reject(new Error('trained')),
    (thrown: UnfoldError) => thrown,
  );
  expect(error.kind).toBe('not-finite');
  expect(error.message).toMatch(/(mse_loss|l1_loss) = (NaN|Infinity)/);
  const [newest] = await checkpointSteps(out);
  expect(newest).toBeGreaterThan(0);
  await expect(loadCoder(join(out, 'checkpoints', `step-${newest}`))).resolves.toBeDefined();
});

it('a finished run says what it did: settings, metrics, a coder with its origin', async () => {
  const out = join(scratch, 'finished');
  const origin = { model: 'checkpoints/novels-4l', text: { dataset: 'novels', context_size: 32 } };
  const result = await train({ out, rows: syntheticSource(), settings: SETTINGS.topk, origin }, silent());
  expect(result.metrics.step).toBe(40);
  expect(result.metrics.explained_variance).toBeGreaterThan(0.3);
  const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  expect(lines).toHaveLength(8);
  const coder = await loadCoder(out);
  expect(coder.cfg).toMatchObject({
    architecture: 'topk',
    d_in: 8,
    d_sae: 48,
    k: 3,
    normalize_activations: 'none',
  });
  expect(coder.cfg.metadata).toMatchObject({
    hook_name: HOOK,
    model_name: 'novels-4l',
    dataset_path: 'novels',
    context_size: 32,
  });
});
