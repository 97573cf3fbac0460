/** @file Corpora: the same tokens as packing by hand, seeded order, disjoint parts, a cache that heals. */
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import type { UnfoldError } from '../../src/errors.ts';
import { loadTokenizer, type Tokenizer } from '../../src/model/tokenizer.ts';
import { type Corpus, corpusOf, openCorpus } from '../../src/text/contexts.ts';
import type { CorpusSpec } from '../../src/text/spec.ts';
import { tokeniseFile, tokeniseText } from '../../src/text/tokenise.ts';

const BOS = 4095;
const FIRST = 'It was the best of times, it was the worst of times.';
const SECOND = 'She rose. "Good-bye," she said.';
let tokenizer: Tokenizer;
let scratch: string;
let cacheDir: string;

beforeAll(async () => {
  tokenizer = await loadTokenizer('checkpoints/novels-4l');
  scratch = await mkdtemp(join(tmpdir(), 'unfold-corpus-'));
  await writeFile(
    join(scratch, 'two.jsonl'),
    [FIRST, SECOND].map((text) => JSON.stringify({ text })).join('\n'),
  );
});
beforeEach(async () => {
  cacheDir = await mkdtemp(join(scratch, 'cache-'));
});
afterAll(() => rm(scratch, { recursive: true }));

const open = (spec: Partial<CorpusSpec>, context = silent()) =>
  openCorpus(
    { dataset: join(scratch, 'two.jsonl'), context_size: 5, ...spec },
    tokenizer,
    { cacheDir },
    context,
  );
const rows = (corpus: Corpus) => Array.from({ length: corpus.contexts }, (_, i) => [...corpus.tokens(i)]);
const failure = async (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (e: unknown) => e as UnfoldError,
  );
const novel = 'datasets/novels-heldout/Doyle_Hound_1902.txt.gz';

describe('contexts', () => {
  test('are documents packed with BOS in front and between', async () => {
    const [a, b] = await tokenizer.encodeBatch([FIRST, SECOND]);
    const stream = [...a!, BOS, ...b!];
    const expected: number[][] = [];
    // Four tokens follow BOS; a BOS that is there already at a border is not doubled.
    for (let at = 0; at < stream.length; ) {
      const skip = stream[at] === BOS ? 1 : 0;
      const context = [BOS, ...stream.slice(at + skip, at + skip + 4)];
      if (context.length === 5) expected.push(context);
      at += skip + 4;
    }
    expect(rows(await open({ shuffle: false }))).toEqual(expected);
  });

  test('come in an order that the seed decides, each once', async () => {
    const inOrder = rows(await open({ shuffle: false }));
    const shuffled = await open({ seed: 1 });
    expect(rows(shuffled)).not.toEqual(inOrder);
    expect(rows(shuffled).map(String).sort()).toEqual(inOrder.map(String).sort());
    expect(rows(await open({ seed: 1 }))).toEqual(rows(shuffled));
    expect(rows(await open({ seed: 2 }))).not.toEqual(rows(shuffled));
    expect(rows(shuffled)).toEqual(rows(shuffled).map((_, i) => inOrder[shuffled.poolIndex(i)]));
  });

  test('read in a block are the rows one after another', async () => {
    const corpus = await open({});
    expect([...corpus.tokensFor(1, 3)]).toEqual(rows(corpus).slice(1, 4).flat());
    expect(() => corpus.tokens(corpus.contexts)).toThrow(RangeError);
  });

  test('of two parts under one seed never overlap', async () => {
    const training = await open({ max_contexts: 3 });
    const heldOut = await open({ skip_contexts: 3 });
    const all = await open({});
    expect([...rows(training), ...rows(heldOut)]).toEqual(rows(all));
    expect(rows(await open({ max_tokens: 17 }))).toEqual(rows(training));
  });

  test('that are token rows already are taken as they are, or packed anew', async () => {
    const dataset = 'test/fixtures/text/ids.int32.arrow';
    const asTheyAre = await open({ dataset, context_size: 4, shuffle: false });
    expect(rows(asTheyAre)).toEqual([
      [1, 2, 3, 4],
      [6, 7, 8, 9],
      [11, 12, 13, 14],
    ]);
    const packed = await open({ dataset, context_size: 8, repack: true, shuffle: false });
    expect(rows(packed)).toEqual([
      [BOS, 1, 2, 3, 4, 5, BOS, 6],
      [BOS, 7, 8, 9, 10, BOS, 11, 12],
    ]);
    expect((await failure(open({ dataset, context_size: 8 })))?.message).toMatch(
      /context_size = 8[\s\S]*--context-size 5/,
    );
  });

  test('keep <|endoftext|> in a document as text unless asked otherwise', async () => {
    const dataset = join(scratch, 'special.txt');
    await writeFile(dataset, 'a <|endoftext|> b'.repeat(40));
    const count = async (special_tokens_in_text: boolean) =>
      rows(await open({ dataset, prepend_bos: false, special_tokens_in_text }))
        .flat()
        .filter((id) => id === BOS).length;
    expect(await count(false)).toBe(0);
    expect(await count(true)).toBeGreaterThan(20);
  });

  test('are drawn from a pool that may be smaller than the dataset', async () => {
    const corpus = await open({ dataset: novel, context_size: 64, pool_tokens: 5000 });
    expect(corpus.pool.document_tokens).toBeGreaterThanOrEqual(5000);
    expect(corpus.pool.document_tokens).toBeLessThan(7000);
  });
});

test('a novel cut into pieces has the ids of the whole', async () => {
  const text = gunzipSync(await readFile(novel)).toString();
  const whole = await tokeniseText(text, tokenizer);
  expect((await tokeniseFile(novel, tokenizer)).ids).toEqual(whole.ids);
  const corpus = await open({
    dataset: novel,
    context_size: 128,
    shuffle: false,
    sequence_separator_token: null,
  });
  const packed = rows(corpus).flatMap((row) => row.slice(1));
  expect(Int32Array.from(packed)).toEqual(whole.ids.subarray(0, packed.length));
}, 30_000);

describe('the cache', () => {
  const bars = () => {
    const labels: string[] = [];
    const warnings: string[] = [];
    const bar = (label: string) => {
      labels.push(label);
      return { update() {}, finish() {} };
    };
    return {
      labels,
      warnings,
      context: { ...silent(), bar, warn: (message: string) => void warnings.push(message) },
    };
  };
  const binary = async () => join(cacheDir, (await readdir(cacheDir)).find((name) => name.endsWith('.bin'))!);

  test('is used again for another order and part, and not for another packing', async () => {
    const { labels, context } = bars();
    const first = await open({}, context);
    const second = await open({ seed: 7, max_contexts: 2 }, context);
    expect(labels).toEqual(['tokenise']);
    expect(second.hash).not.toBe(first.hash);
    await open({ context_size: 6 }, context);
    expect(labels).toEqual(['tokenise', 'tokenise']);
  });

  test.each([
    [
      'a flipped bit',
      async (path: string) => {
        const bytes = await readFile(path);
        bytes[3]! ^= 1;
        await writeFile(path, bytes);
      },
    ],
    ['a cut', (path: string) => truncate(path, 8)],
    ['a deletion', (path: string) => rm(path)],
    ['a broken description', (path: string) => writeFile(`${path}.json`, '{')],
  ])('heals after %s, with a warning', async (_name, damage) => {
    const before = await open({});
    await damage(await binary());
    const { warnings, context } = bars();
    const after = await open({}, context);
    expect(warnings).toHaveLength(1);
    expect(rows(after)).toEqual(rows(before));
    expect(after.hash).toBe(before.hash);
  });

  test('is not needed: memory gives the same corpus', async () => {
    const kept = await open({});
    const spec = { dataset: join(scratch, 'two.jsonl'), context_size: 5 };
    const inMemory = await openCorpus(spec, tokenizer, { cacheDir: null });
    expect([inMemory.hash, rows(inMemory)]).toEqual([kept.hash, rows(kept)]);
  });

  test('holds nothing after a failure or a stop', async () => {
    const dataset = join(scratch, 'late.jsonl');
    await writeFile(dataset, `${JSON.stringify({ text: FIRST.repeat(30_000) })}\n{"no": 1}`);
    expect((await failure(open({ dataset })))?.kind).toBe('missing-column');
    const stopped = AbortSignal.abort(new Error('stopped'));
    expect((await failure(open({ dataset: novel }, silent(stopped))))?.message).toBe('stopped');
    expect((await readdir(cacheDir)).filter((name) => !name.startsWith('hashes'))).toEqual([]);
  });

  test('made by two at once is one corpus', async () => {
    const [first, second] = await Promise.all([open({}), open({})]);
    expect(rows(first)).toEqual(rows(second));
  });
});

describe('settings that cannot be', () => {
  const bad: [string, Partial<CorpusSpec>, string, RegExp][] = [
    ['a context without room', { context_size: 1 }, 'bad-spec', /2 or more/],
    ['a misspelt setting', { contextsize: 3 } as Partial<CorpusSpec>, 'bad-spec', /contextsize/],
    ['a text shorter than a context', { context_size: 500 }, 'too-few-contexts', /add text/],
    ['a part beyond the end', { skip_contexts: 99 }, 'too-few-contexts', /more than 99 contexts/],
    [
      'fewer tokens than a context',
      { max_tokens: 4 },
      'too-few-contexts',
      /max_tokens of at least one context of 5/,
    ],
    ['a separator that is no token', { sequence_separator_token: 5000 }, 'no-bos', /ids below 4096/],
  ];
  test.each(bad)('%s', async (_name, spec, kind, message) => {
    const error = await failure(open(spec));
    expect(error?.kind).toBe(kind);
    expect(error?.message).toMatch(message);
  });
});

test('the bundled novels are there as their manifest says', async () => {
  const corpus = await open({ dataset: 'novels-heldout', context_size: 128 });
  expect(corpus.pool.documents).toBe(3);
  expect(corpus.contexts).toBe(2510);
}, 30_000);

test('rows at hand are a corpus too', () => {
  const corpus = corpusOf([
    [1, 2],
    [3, 4],
  ]);
  expect([corpus.contexts, corpus.contextSize, [...corpus.tokensFor(0, 2)]]).toEqual([2, 2, [1, 2, 3, 4]]);
});
