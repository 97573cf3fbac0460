/** The bundled model instead of a formula: values against SAELens's, live rows against shards, kill -9. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { harvest } from '../../src/harvest/harvest.ts';
import { forwardOptions } from '../../src/harvest/inputs.ts';
import { liveSource } from '../../src/harvest/live.ts';
import { harvestSchema } from '../../src/harvest/settings.ts';
import { type GPT2, loadGPT2 } from '../../src/model/gpt2.ts';
import { loadTokenizer, type Tokenizer } from '../../src/model/tokenizer.ts';
import type { ActivationBlock } from '../../src/shards/block-source.ts';
import { openShards } from '../../src/shards/reader.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { corpusOf } from '../../src/text/contexts.ts';
import { contents, folder } from './helpers.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const checkpoint = join(root, 'checkpoints/novels-4l');
const hook = 'blocks.2.hook_resid_pre';
let model: GPT2;
let tokenizer: Tokenizer;

beforeAll(async () => {
  await useBackend('auto');
  model = await loadGPT2(checkpoint);
  tokenizer = await loadTokenizer(checkpoint);
});
afterAll(() => model.dispose());

/** Pseudo-random contexts of ordinary tokens, each opened by <|endoftext|>. */
function corpus(contexts: number, size: number) {
  const row = (context: number) =>
    Array.from({ length: size }, (_, i) => (i ? (context * 7919 + i * 104_729) % 4000 : tokenizer.bosId!));
  return corpusOf(Array.from({ length: contexts }, (_, context) => row(context)));
}

test("rows are SAELens's cached activations of the same tokens", async () => {
  const theirs = await openShards(join(root, 'test/fixtures/shards/cached_activations'));
  const block = await theirs.readBlock(0);
  const rows = Array.from({ length: 70 }, (_, i) => [...block.tokenId.subarray(5 * i, 5 * i + 5)]);
  const out = await folder();
  const options = {
    model: checkpoint,
    text: { dataset: 'rows', context_size: 5 },
    hook_names: [hook],
    exclude_special_tokens: false,
  };
  await harvest({ ...options, batch_contexts: 70, out }, silent(), {
    model,
    tokenizer,
    corpus: corpusOf(rows),
  });
  const ours = await openShards(out);
  const [a, b] = [(await ours.readBlock(0)).activations.get(hook)!, block.activations.get(hook)!];
  expect(a.length).toBe(b.length);
  // The tolerance of the project for activations; float32 products in another order differ by about 1e-5 here.
  expect(a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0)).toBeLessThan(1e-4);
  await ours.close();
});

/** As toEqual, which takes seconds for arrays of this size. */
function expectSameRows(a: ActivationBlock, b: ActivationBlock): void {
  const bytes = (array: Float32Array | Int32Array | Uint32Array | Uint16Array) =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  expect([...a.activations.keys()]).toEqual([...b.activations.keys()]);
  for (const [name, values] of a.activations)
    expect(bytes(values).equals(bytes(b.activations.get(name)!))).toBe(true);
  for (const key of ['tokenId', 'seqId', 'pos'] as const)
    expect(bytes(a[key]).equals(bytes(b[key]))).toBe(true);
}

test('live rows equal the rows of shards to the last bit, whichever blocks came before', async () => {
  const tokens = corpus(10, 64);
  for (const dtype of ['float32', 'float16'] as const) {
    const out = await folder();
    const settings = {
      model: checkpoint,
      text: { dataset: 'rows' },
      hook_names: [hook, 'blocks.1.attn.hook_z', 'blocks.3.mlp.hook_post'],
      dtype,
      batch_contexts: 4,
    };
    await harvest({ ...settings, out }, silent(), { model, tokenizer, corpus: tokens });
    const shards = await openShards(out);
    const live = liveSource(model, tokens, forwardOptions(harvestSchema.parse(settings), tokenizer, tokens));
    expect(live.contentHash).toBe(shards.contentHash);
    for (const index of [2, 0, 1]) expectSameRows(await live.readBlock(index), await shards.readBlock(index));
    await shards.close();
  }
});

/** Starts `unfold harvest` of 16 small shards. */
function start(out: string): ChildProcess {
  const settings = [
    '--model',
    checkpoint,
    '--dataset',
    join(root, 'datasets/novels'),
    '--hooks',
    hook,
    '--max-tokens',
    '65536',
  ];
  const sizes = ['--shard-rows', '4096', '--batch-contexts', '8', '--out', out, '--json'];
  const program = ['--import', 'tsx', join(root, 'src/cli/main.ts'), 'harvest', ...settings, ...sizes];
  return spawn(process.execPath, program, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] });
}

/** Waits for a process to end by itself; its standard output. */
async function ended(child: ChildProcess): Promise<string> {
  let output = '';
  child.stdout!.on('data', (chunk) => {
    output += chunk;
  });
  await new Promise((resolve) => child.on('close', resolve));
  return output;
}

const sidecars = (files: Record<string, string>) =>
  Object.keys(files).filter((name) => /^data-.*\.json$/.test(name));

test('killed with -9 again and again, a harvest goes on and ends with the bytes of an undisturbed one', async () => {
  const [whole, broken] = [await folder(), await folder()];
  await ended(start(whole));
  const expected = await contents(whole);
  expect(sidecars(expected).length).toBe(16);
  let made = 0;
  for (const wait of [7, 40, 20]) {
    const child = start(broken);
    const closed = ended(child);
    await grown(broken, made, child);
    await sleep(wait);
    child.kill('SIGKILL');
    await closed;
    const files = await contents(broken);
    // What was finished before is there still, and every shard that has a sidecar is whole.
    for (const name of sidecars(files)) expect(files[name]).toBe(expected[name]);
    expect(sidecars(files).length).toBeGreaterThanOrEqual(made);
    made = sidecars(files).length;
  }
  expect(made).toBeLessThan(16);
  const last = JSON.parse(await ended(start(broken)));
  expect(last).toMatchObject({ complete: true, shards_skipped: made, shards_made: 16 - made });
  expect(await contents(broken)).toEqual(expected);
}, 120_000);

/** Waits until the folder holds more finished shards than before, so that the kill comes in the middle of the work. */
async function grown(dir: string, made: number, child: ChildProcess): Promise<void> {
  const finished = async () => (await readdir(dir)).filter((name) => /^data-.*\.json$/.test(name)).length;
  while (child.exitCode === null && (await finished()) <= made) await sleep(10);
}

test('a second process on the same folder is told who is at work', async () => {
  const out = await folder();
  const first = start(out);
  const closed = ended(first);
  await grown(out, 0, first);
  first.kill('SIGSTOP'); // alive, and sure not to finish meanwhile
  const refused = JSON.parse(await ended(start(out)));
  first.kill('SIGKILL');
  await closed;
  expect(refused.error).toMatchObject({
    kind: 'locked',
    found: expect.stringContaining(`process ${first.pid} on`),
  });
});

test('Ctrl-C drops the shard in hand, keeps the others and exits with 130', async () => {
  const out = await folder();
  const child = start(out);
  const closed = ended(child);
  await grown(out, 1, child);
  child.kill('SIGINT');
  await closed;
  expect([child.exitCode, child.signalCode]).toEqual([130, null]);
  const names = await readdir(out);
  expect(names.filter((name) => name.endsWith('.part') || name.startsWith('.lock'))).toEqual([]);
  await expect(openShards(out)).rejects.toMatchObject({ kind: 'unfinished-shards' });
});
