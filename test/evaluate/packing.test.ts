/** @file A model whose tokeniser names no BOS: harvest, training, evaluation, fine-tuning and live training pack alike. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { evaluateCoder } from '../../src/evaluate/evaluate-coder.ts';
import { finetune } from '../../src/finetune/finetune.ts';
import { harvest } from '../../src/harvest/harvest.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { runTraining } from '../../src/train/command.ts';
import { novelsTokenizer, tinyModelFolder } from '../support/tiny-model.ts';

const hook = 'blocks.0.hook_resid_post';
const settings = { d_sae: 16, k: 4, training_tokens: 512, train_batch_size_tokens: 128 };
let dir: string;
let model: string;
let dataset: string;
let coder: string;

beforeAll(async () => {
  await useBackend();
  dir = await mkdtemp(join(tmpdir(), 'unfold-packing-'));
  const tokenizer = await novelsTokenizer();
  tokenizer.added_tokens[0]!.special = false;
  model = await tinyModelFolder(join(dir, 'model'), {
    config: { bos_token_id: null, eos_token_id: null },
    files: {
      'tokenizer.json': tokenizer,
      'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast' },
    },
  });
  dataset = join(dir, 'text.jsonl');
  const lines = Array.from({ length: 80 }, (_, i) =>
    JSON.stringify({ text: `Line ${i} about boats and rivers.` }),
  );
  await writeFile(dataset, lines.join('\n'));
});
afterAll(() => rm(dir, { recursive: true }));

const metadataOf = async (folder: string) =>
  (JSON.parse(await readFile(join(folder, 'cfg.json'), 'utf8')) as { metadata: Record<string, unknown> })
    .metadata;

describe('a model without BOS', () => {
  test('is trained on shards; cfg.json says how, null included', async () => {
    const out = join(dir, 'shards');
    const text = { dataset, context_size: 16, prepend_bos: false, sequence_separator_token: null } as const;
    await harvest({ model, text, hook_names: [hook], out }, silent());
    const run = await runTraining({ out: join(dir, 'run'), shards: out, settings }, silent());
    coder = run.coderDir;
    expect(await metadataOf(coder)).toMatchObject({
      context_size: 16,
      prepend_bos: false,
      sequence_separator_token: null,
      disable_concat_sequences: false,
      exclude_special_tokens: true,
      seqpos_slice: [null],
    });
  });

  test('is evaluated on text that is packed as the training was', async () => {
    const { evaluation } = await evaluateCoder({ coder, model, dataset });
    const inOneRow = await evaluateCoder({
      coder,
      model,
      dataset,
      text: { disable_concat_sequences: true },
    }).catch((error: Error) => error.message);
    // No document fills a context of 16 alone: what is said goes before what the coder's file says.
    expect(inOneRow).toContain('0 contexts');
    expect(evaluation.tokens.total % 16).toBe(0);
    expect(evaluation.tokens.contexts).toBeGreaterThan(20);
  });

  test('is fine-tuned, and a live run takes what the error advises', async () => {
    const tuned = { training_tokens: 128, train_batch_size_tokens: 64, eval_tokens: 0, measured_tokens: 128 };
    const { coderDir } = await finetune(
      { coder, model, dataset, out: join(dir, 'tuned'), settings: tuned },
      silent(),
    );
    expect(await metadataOf(coderDir)).toMatchObject({ prepend_bos: false, sequence_separator_token: null });
    const live = { model, dataset, contextSize: 16, settings: { ...settings, hook_name: hook } };
    await expect(runTraining({ ...live, out: join(dir, 'no') }, silent())).rejects.toThrow(
      /--no-prepend-bos .*--sequence-separator-token null/,
    );
    const text = { prepend_bos: false, sequence_separator_token: null, begin_sequence_token: 5 };
    const run = await runTraining(
      { ...live, out: join(dir, 'live'), text, excludeSpecialTokens: [5], seqposSlice: [1, null] },
      silent(),
    );
    expect(await metadataOf(run.coderDir)).toMatchObject({
      ...text,
      exclude_special_tokens: [5],
      seqpos_slice: [1, null],
    });
  });

  test('settings of a text without a text are refused', async () => {
    const text = { prepend_bos: false };
    await expect(evaluateCoder({ coder, shards: join(dir, 'shards'), text })).rejects.toThrow(/prepend_bos/);
    await expect(
      runTraining({ out: join(dir, 'x'), shards: join(dir, 'shards'), text, settings }, silent()),
    ).rejects.toThrow(/prepend_bos beside --shards/);
    await expect(
      finetune({ coder, model, tokens: 'x.json', text, out: join(dir, 'y') }, silent()),
    ).rejects.toThrow(/prepend_bos/);
  });
});
