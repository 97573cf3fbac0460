/** @file The model as a foreign cfg.json says its rows were taken: processed, or refused by name. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Coder } from '../../src/coders/coder.ts';
import type { CoderConfig } from '../../src/coders/config.ts';
import { silent } from '../../src/context.ts';
import { checkHookRows, hooksOf } from '../../src/evaluate/coder-hooks.ts';
import { loadModelOf } from '../../src/evaluate/coder-model.ts';
import { loadGPT2 } from '../../src/model/gpt2.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { tinyModelFolder } from '../support/tiny-model.ts';

let root: string;
let dir: string;
beforeAll(async () => {
  await useBackend();
  root = await mkdtemp(join(tmpdir(), 'unfold-model-of-'));
  dir = await tinyModelFolder(join(root, 'model'));
});
afterAll(() => rm(root, { recursive: true }));

const load = (kwargs: unknown, context = silent(), section = 'model_from_pretrained_kwargs') =>
  loadModelOf({ [section]: kwargs }, { dir, where: 'x/cfg.json' }, context);

test('processing that SAELens was told is done', async () => {
  const plain = await loadGPT2(dir);
  const kwargs = { fold_ln: true, center_writing_weights: true, center_unembed: false, n_devices: 2 };
  const model = await load(kwargs);
  const expected = plain.process({ fold_ln: true, center_writing_weights: true });
  const at = 'blocks.1.ln2.hook_normalized';
  const [a, b, c] = [model, expected, plain].map((one) =>
    Array.from(
      one
        .activations([[1, 2, 3]], [at])
        .get(at)!
        .dataSync(),
    ),
  );
  expect(a).toEqual(b);
  expect(a).not.toEqual(c);
});

test('settings of hook points are on; a dtype is told; defaults change nothing', async () => {
  const model = await load({ use_split_qkv_input: true }, silent(), 'model_kwargs');
  expect(model.flags.use_split_qkv_input).toBe(true);
  const warned: string[] = [];
  await load(
    { dtype: 'torch.bfloat16', center_writing_weights: false },
    {
      ...silent(),
      warn: (text: string) => void warned.push(text),
    },
  );
  expect(warned.join()).toContain('bfloat16');
  expect((await load(null)).weightsHash).toBe((await loadGPT2(dir)).weightsHash);
});

test.each([
  [{ refactor_factored_attn_matrices: true }, 'refactor_factored_attn_matrices'],
  [{ first_n_layers: 1 }, 'first_n_layers'],
  [{ revision: 'step1000' }, 'revision'],
  [{ fold_ln: 'yes' }, 'fold_ln'],
  ['fold_ln', 'model_from_pretrained_kwargs'],
])('%j is refused by name', async (kwargs, name) => {
  await expect(load(kwargs)).rejects.toMatchObject({
    kind: 'bad-coder',
    lesson: { where: expect.stringContaining(name) },
  });
});

test('one head of a hook, a hook of another width and one without rows are refused', async () => {
  const cfg = {
    metadata: { hook_name: 'blocks.0.attn.hook_z', hook_head_index: 1 },
  } as unknown as CoderConfig;
  expect(() => hooksOf({ coder: { cfg } as Coder })).toThrow(/hook_head_index[\s\S]*head 1/);
  const model = await loadGPT2(dir);
  const at = (name: string, width: number) => () => checkHookRows(model, [{ name, width }]);
  expect(at('blocks.1.hook_mlp_in', 8)).not.toThrow();
  expect(at('blocks.1.attn.hook_result', 16)).not.toThrow();
  expect(at('blocks.1.hook_mlp_out', 32)).toThrow(/rows of 32/);
  expect(at('blocks.1.attn.hook_pattern', 8)).toThrow(/one vector per token/);
});
