import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { forwardOptions } from '../../src/harvest/inputs.ts';
import { liveSource } from '../../src/harvest/live.ts';
import { parseShardRange, planHarvest } from '../../src/harvest/plan.ts';
import { harvestSchema } from '../../src/harvest/settings.ts';
import { meanNorms } from '../../src/shards/norms.ts';
import { isShardSource, openShards } from '../../src/shards/reader.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import {
  contents,
  folder,
  formula,
  formulaCorpus,
  formulaModel,
  hook,
  run,
  settings,
  tokenizer,
} from './helpers.ts';

let dir: string;
beforeAll(() => useBackend('cpu').then(() => undefined));
beforeEach(async () => {
  dir = await folder();
});

test('rows are the activations at every token that is not special, of all hooks, heads end to end', async () => {
  const result = await run(dir);
  const corpus = formulaCorpus();
  const source = await openShards(dir);
  expect(source.hooks).toEqual([
    { name: hook, width: 4 },
    { name: 'blocks.0.attn.hook_z', width: 4 },
  ]);
  let rows = 0;
  for (let index = 0; index < source.blockRows.length; index++) {
    const block = await source.readBlock(index);
    rows += block.rows;
    for (let row = 0; row < block.rows; row++) {
      const [token, context, position] = [block.tokenId[row]!, block.seqId[row]!, block.pos[row]!];
      expect(corpus.tokens(context)[position]).toBe(token);
      expect(token).not.toBe(0);
      for (const [name, values] of block.activations) {
        const expected = [0, 1, 2, 3].map((j) => Math.fround(formula(name, token, position, j)));
        expect([...values.subarray(4 * row, 4 * row + 4)]).toEqual(expected);
      }
    }
  }
  const wanted = [...corpus.tokensFor(0, 23)].filter((token) => token !== 0).length;
  expect([rows, result.rows]).toEqual([wanted, wanted]);
  expect(result).toMatchObject({ contexts: 23, tokens: 184, shards: 3, shards_made: 3, complete: true });
  await source.close();
});

test('a live source gives the same rows under the same content hash, float16 rounding included', async () => {
  for (const dtype of ['float32', 'float16'] as const) {
    const out = await folder();
    await run(out, { dtype, seqpos_slice: [1, -1] });
    const shards = await openShards(out);
    const corpus = formulaCorpus();
    const resolved = harvestSchema.parse({ ...settings, dtype, seqpos_slice: [1, -1] });
    const live = liveSource(formulaModel(), corpus, forwardOptions(resolved, tokenizer, corpus));
    expect(live.contentHash).toBe(shards.contentHash);
    expect(live.hooks).toEqual(shards.hooks);
    expect(live.blockRows).toEqual(shards.blockRows);
    for (let index = 0; index < live.blockRows.length; index++) {
      expect(await live.readBlock(index)).toEqual(await shards.readBlock(index));
    }
    expect(await meanNorms(live)).toEqual(await meanNorms(shards));
    expect(await meanNorms(live, 30)).toEqual(await meanNorms(shards, 30));
    expect((await meanNorms(live, 30)).get(hook)!.rows).toBeLessThan(60);
    await shards.close();
  }
});

test('the mean norm is that of the float32 rows, in sidecars and manifest', async () => {
  const result = await run(dir, { dtype: 'float16' });
  const source = await openShards(dir);
  const norms: number[] = [];
  const corpus = formulaCorpus();
  for (let i = 0; i < 23 * 8; i++) {
    const token = corpus.tokensFor(0, 23)[i]!;
    if (token)
      norms.push(Math.hypot(...[0, 1, 2, 3].map((j) => Math.fround(formula(hook, token, i % 8, j)))));
  }
  const mean = norms.reduce((a, b) => a + b, 0) / norms.length;
  expect(result.hooks[0]!.mean_norm).toBeCloseTo(mean, 10);
  expect(isShardSource(source) && source.manifest.mean_norm[hook]).toBe(result.hooks[0]!.mean_norm);
  await source.close();
});

describe('a rerun', () => {
  test('does nothing when all is there', async () => {
    await run(dir);
    const before = await contents(dir);
    let forwards = 0;
    const again = await run(dir, {}, formulaModel({ onForward: () => forwards++ }));
    expect(again).toMatchObject({ shards_made: 0, shards_skipped: 3, complete: true });
    expect(forwards).toBe(0);
    expect(await contents(dir)).toEqual(before);
  });

  test('makes only the shard that was deleted, damaged or truncated, with the same bytes', async () => {
    await run(dir);
    const before = await contents(dir);
    const file = join(dir, 'data-00001-of-00003.arrow');
    const damages = [
      () => rm(file),
      () => rm(join(dir, 'data-00001-of-00003.json')),
      () => truncate(file, 100),
      () => writeFile(join(dir, 'data-00001-of-00003.json'), '{"format":'),
      async () => {
        const bytes = await readFile(file);
        bytes[bytes.length - 100]! ^= 1;
        await writeFile(file, bytes);
      },
    ];
    for (const damage of damages) {
      await damage();
      let forwards = 0;
      const again = await run(dir, {}, formulaModel({ onForward: () => forwards++ }));
      expect(again).toMatchObject({ shards_made: 1, shards_skipped: 2, complete: true });
      expect(forwards).toBe(2);
      expect(await contents(dir)).toEqual(before);
    }
  });

  test('with other settings is refused, naming each difference, and changes nothing', async () => {
    await run(dir);
    const before = await contents(dir);
    await expect(run(dir, { dtype: 'float16', seqpos_slice: [1, null] })).rejects.toMatchObject({
      kind: 'settings-differ',
      lesson: {
        expected: expect.stringMatching(
          /dtype "float32".*seqpos_slice \[null\]|seqpos_slice \[null\].*dtype "float32"/,
        ),
        found: expect.stringContaining('"float16"'),
      },
    });
    expect(await contents(dir)).toEqual(before);
  });

  test('after a stop goes on; the shard in hand is dropped, nothing half is left', async () => {
    const whole = await folder();
    await run(whole);
    const stop = new AbortController();
    let forwards = 0;
    const model = formulaModel({ onForward: () => ++forwards === 3 && stop.abort() });
    await expect(run(dir, {}, model, silent(stop.signal))).rejects.toMatchObject({ kind: 'stopped' });
    const left = Object.keys(await contents(dir));
    expect(left).toEqual(['data-00000-of-00003.arrow', 'data-00000-of-00003.json', 'manifest.json']);
    await expect(openShards(dir)).rejects.toMatchObject({ kind: 'unfinished-shards' });
    expect(await run(dir)).toMatchObject({ shards_made: 2, shards_skipped: 1 });
    expect(await contents(dir)).toEqual(await contents(whole));
  });
});

test('ranges of shards by several processes make the folder that one would have made', async () => {
  const whole = await folder();
  await run(whole);
  expect(await run(dir, { shards: '1..2' })).toMatchObject({ shards_made: 2, complete: false });
  await expect(openShards(dir)).rejects.toMatchObject({ kind: 'unfinished-shards' });
  expect(await run(dir, { shards: '0' })).toMatchObject({ shards_made: 1, complete: true });
  expect(await contents(dir)).toEqual(await contents(whole));
  await expect(run(dir, { shards: '2..3' })).rejects.toMatchObject({ kind: 'bad-setting' });
  expect(parseShardRange('4..', 9)).toEqual({ first: 4, last: 8 });
});

test('NaN stops the harvest and is named by hook, layer, context and position; finished shards stay', async () => {
  const corpus = formulaCorpus();
  const model = formulaModel({ spoil: (value, token) => (token === 30 ? Number.NaN : value) });
  const at = corpus.tokensFor(0, 23).indexOf(30);
  const place = `context ${Math.floor(at / 8)}, position ${at % 8} (token 30)`;
  await expect(run(dir, {}, model)).rejects.toMatchObject({
    kind: 'not-finite',
    lesson: { where: expect.stringContaining(`${hook} (layer 1): ${place}`), found: 'NaN' },
  });
  expect(Object.keys(await contents(dir)).filter((name) => name.endsWith('.part'))).toEqual([]);
  const live = liveSource(model, corpus, forwardOptions(harvestSchema.parse(settings), tokenizer, corpus));
  await expect(live.readBlock(Math.floor(at / 32))).rejects.toMatchObject({ kind: 'not-finite' });
});

test('a value beyond float16 is refused as float16 and stored as float32', async () => {
  const large = () => formulaModel({ spoil: (value, token) => (token === 30 ? 70000 : value) });
  await expect(run(dir, { dtype: 'float16' }, large())).rejects.toMatchObject({ kind: 'float16-overflow' });
  expect(await run(await folder(), {}, large())).toMatchObject({ complete: true });
});

test('what cannot be harvested is refused before anything is written', async () => {
  const refuse = async (change: Parameters<typeof run>[1], kind: string, text: RegExp) => {
    const error = await run(dir, change).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind, message: expect.stringMatching(text) });
    expect(await contents(dir)).toEqual({});
  };
  await refuse({ hook_names: ['blocks.1.hook_resid_pr'] }, 'unknown-hook', /blocks\.1\.hook_resid_pre/);
  await refuse({ hook_names: ['blocks.0.attn.hook_pattern'] }, 'bad-hook', /per pair of tokens/);
  await refuse({ hook_names: [] }, 'bad-setting', /hook_names/);
  await refuse({ hook_names: [hook, hook] }, 'bad-setting', /every hook point once/);
  await refuse({ batch_contexts: 0 }, 'bad-setting', /batch_contexts/);
  await refuse(
    { exclude_special_tokens: Array.from({ length: 41 }, (_, i) => i) },
    'no-rows',
    /at least one row/,
  );
});

test('a plan knows rows, files and bytes before the model runs', () => {
  const plan = planHarvest({
    hooks: [{ name: 'h', width: 768 }],
    dtype: 'float16',
    blockRows: [4096, 4000, 4096, 4050, 100],
    fullBlockRows: 4096,
    shardRows: 8192,
  });
  expect(plan.shards.map(({ file, firstBlock, blocks, rows }) => [file, firstBlock, blocks, rows])).toEqual([
    ['data-00000-of-00003.arrow', 0, 2, 8096],
    ['data-00001-of-00003.arrow', 2, 2, 8146],
    ['data-00002-of-00003.arrow', 4, 1, 100],
  ]);
  expect(plan.bytes / (plan.rows * (2 * 768 + 10))).toBeCloseTo(1, 1);
});

test('rows, hooks, shards and bytes are announced before the first forward pass', async () => {
  const notes: string[] = [];
  const model = formulaModel({
    onForward: () =>
      expect(notes.join()).toMatch(
        /^149 rows of blocks\.1\.hook_resid_pre \[4\], blocks\.0\.attn\.hook_z \[4\] in 3 shards, \d+ kB/,
      ),
  });
  await run(dir, {}, model, { ...silent(), note: (line) => notes.push(line) });
  expect(notes.length).toBeGreaterThan(0);
});

test('globs stand for the hook points with a row per token; the harvest is that of their names', async () => {
  const globbed = await run(dir, { hook_names: ['blocks.*.hook_mlp_in'] });
  expect(globbed.hooks.map(({ name }) => name)).toEqual([0, 1].map((l) => `blocks.${l}.hook_mlp_in`));
  const named = await run(dir, { hook_names: globbed.hooks.map(({ name }) => name) });
  expect(named).toMatchObject({ shards_made: 0, content_hash: globbed.content_hash });
});

test('a first layer norm beside inputs of each head, which change its rows, is refused', async () => {
  const hook_names = ['blocks.0.hook_q_input', 'blocks.0.ln1.hook_normalized'];
  await expect(run(dir, { hook_names })).rejects.toThrow(/each in a harvest of its own/);
});
