/** @file The tokeniser against transformers and TransformerLens, and against files that do not fit. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer as NativeTokenizer } from 'tokenizers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { UnfoldError } from '../../src/errors.ts';
import { BYTE_CHARACTERS } from '../../src/model/tokenizer/byte-level.ts';
import { assertFits, loadTokenizer, type Tokenizer } from '../../src/model/tokenizer.ts';
import { Random } from '../../src/random.ts';
import golden from '../fixtures/tokens/tokens.json' with { type: 'json' };

const MODEL = 'checkpoints/novels-4l';
let scratch: string;
let pair: Tokenizer;
let whole: Tokenizer;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-tokenizer-'));
  for (const name of ['vocab.json', 'merges.txt']) await cp(join(MODEL, name), join(scratch, name));
  whole = await loadTokenizer(MODEL);
  pair = await loadTokenizer(scratch);
});
afterAll(() => rm(scratch, { recursive: true }));

const variants = ['tokenizer.json', 'vocab.json + merges.txt'] as const;
const built = (variant: (typeof variants)[number]) => (variant === 'tokenizer.json' ? whole : pair);

describe.each(variants)('%s', (variant) => {
  test.each(golden.cases)(
    '$name: ids, token strings and text are those of transformers',
    async ({ text, ids, tokens, decoded }) => {
      const tokenizer = built(variant);
      const found = await tokenizer.encode(text);
      expect([...found]).toEqual(ids);
      expect([...found].map((id) => tokenizer.tokenOf(id))).toEqual(tokens);
      expect(tokenizer.decode(found)).toBe(decoded);
    },
  );

  test.each(golden.special)(
    '$text: a special token in the text is text unless asked otherwise',
    async (c) => {
      const tokenizer = built(variant);
      expect([...(await tokenizer.encode(c.text))]).toEqual(c.ids_as_text);
      expect([...(await tokenizer.encode(c.text, { special: true }))]).toEqual(c.ids_special);
      expect(tokenizer.decode(c.ids_special)).toBe(c.decoded_special);
      expect(tokenizer.decode(c.ids_special, { skipSpecial: true })).toBe(c.decoded_special_skipped);
      expect(tokenizer.decode(c.ids_as_text)).toBe(c.decoded_as_text);
    },
  );

  test.each(golden.decode)(
    '$ids decodes as in transformers, ill-formed bytes included',
    ({ ids, decoded, decoded_skip_special }) => {
      expect(built(variant).decode(ids)).toBe(decoded);
      expect(built(variant).decode(ids, { skipSpecial: true })).toBe(decoded_skip_special);
    },
  );

  test.each(golden.transformer_lens.cases)("$text: pieces are TransformerLens's to_str_tokens", async (c) => {
    const tokenizer = built(variant);
    const ids = [tokenizer.bosId!, ...(await tokenizer.encode(c.text))];
    expect(ids).toEqual(c.to_tokens);
    expect(tokenizer.pieces(ids)).toEqual(c.to_str_tokens);
  });

  test('BOS, EOS, vocabulary and special ids are those of the model', () => {
    const { bosId, eosId, vocabSize, specialIds } = built(variant);
    const { size, bos_token_id, eos_token_id } = golden.vocabulary;
    expect({ bosId, eosId, vocabSize }).toEqual({
      bosId: bos_token_id,
      eosId: eos_token_id,
      vocabSize: size,
    });
    expect([...specialIds]).toEqual([bos_token_id]);
  });
});

test('a batch gives each text its own ids, in order, with several batches in flight', async () => {
  const texts = golden.cases.map(({ text }) => text);
  const [first, second] = await Promise.all([
    whole.encodeBatch(texts),
    whole.encodeBatch([...texts].reverse()),
  ]);
  expect(first.map((ids) => [...ids])).toEqual(golden.cases.map(({ ids }) => ids));
  expect(second.reverse()).toEqual(first);
});

test('words looked up have the ids that the library gives to the text', async () => {
  const library = NativeTokenizer.fromFile(join(MODEL, 'tokenizer.json'));
  const alphabet = [
    "'",
    's',
    'll',
    "'ve",
    'T',
    ' ',
    ' ',
    '\n',
    '\t',
    '\u0085',
    '\u00a0',
    '7',
    '½',
    'é',
    'e\u0301',
    'Ж',
    '—',
    '…',
    '!?',
    'the',
    '你',
    '\ufeff',
  ];
  const random = Random.of(0, 'words');
  const texts = Array.from({ length: 3000 }, () =>
    Array.from({ length: random.below(12) }, () => alphabet[random.below(alphabet.length)]).join(''),
  );
  const expected = await library.encodeBatch(texts, { addSpecialTokens: false });
  const found = await whole.encodeBatch(texts);
  expect(found.map((ids) => [...ids])).toEqual(expected.map((encoding) => encoding.getIds()));
});

test('visible pieces show the bytes of a broken character and the characters of a whole one', async () => {
  expect(whole.visiblePieces([228, 189, 160, 65])).toEqual(['\\xe4', '\\xbd', '\\xa0', 'A']);
  expect(whole.visiblePieces(await whole.encode(' the'))).toEqual([' the']);
});

test('the byte alphabet has 256 different characters and moves the space to Ġ, the newline to Ċ', () => {
  expect(new Set(BYTE_CHARACTERS).size).toBe(256);
  expect([BYTE_CHARACTERS[0x20], BYTE_CHARACTERS[0x0a], BYTE_CHARACTERS[0x41]]).toEqual(['Ġ', 'Ċ', 'A']);
});

test('an id that does not exist is refused with the range that does', () => {
  expect(() => whole.decode([4096])).toThrow(/ids from 0 to 4095/);
});

test('the hash tells tokenisers apart and is the same for the same files', async () => {
  expect((await loadTokenizer(MODEL)).hash).toBe(whole.hash);
  expect(pair.hash).not.toBe(whole.hash);
});

test('added tokens that are not special stay, under their own ids, when special ones become text', async () => {
  const json = JSON.parse(await readFile(join(MODEL, 'tokenizer.json'), 'utf8'));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  json.added_tokens.push(
    { id: 4096, content: '[S]', special: true, ...flags },
    { id: 4097, content: '[A]', special: false, ...flags },
  );
  const file = join(scratch, 'tokenizer.json');
  await writeFile(file, JSON.stringify(json));
  const tokenizer = await loadTokenizer(file);
  await rm(file);
  expect((await tokenizer.encode('[A]')).at(-1)).toBe(4097);
  expect([...(await tokenizer.encode('[S]', { special: true }))]).toEqual([4096]);
  expect([...(await tokenizer.encode('[S]'))]).not.toContain(4096);
  expect(tokenizer.decode([4096, 4097])).toBe('[S][A]');
});

describe('a tokeniser that does not fit', () => {
  test('has more ids than the embedding has rows: refused with both numbers', () => {
    expect(() => assertFits(whole, 4000)).toThrow(/ids below 4000[\s\S]*ids up to 4095/);
    expect(() => assertFits(whole, 4096)).not.toThrow();
  });

  test('uses little of the embedding: a warning', () => {
    const warnings: string[] = [];
    assertFits(whole, 50257, { ...silent(), warn: (message) => warnings.push(message) });
    expect(warnings).toHaveLength(1);
  });

  const bad: [string, Record<string, string>, RegExp][] = [
    ['no files', {}, /expected {2}tokenizer.json, or vocab.json with merges.txt/],
    [
      'tokenizer.json without a model',
      { 'tokenizer.json': '{"added_tokens": []}' },
      /a model with a vocabulary/,
    ],
    ['tokenizer.json that is cut off', { 'tokenizer.json': '{"model": ' }, /do not parse/],
    [
      'a model the library does not know',
      { 'tokenizer.json': '{"model": {"type": "XYZ", "vocab": {}}}' },
      /tokenizers library can read/,
    ],
    [
      'a merge of tokens that do not exist',
      { 'vocab.json': '{"a": 0}', 'merges.txt': '#version: 0.2\na b\n' },
      /merges.txt:2/,
    ],
  ];
  test.each(bad)('%s: a lesson that names the place', async (_name, files, message) => {
    const dir = await mkdtemp(join(tmpdir(), 'unfold-bad-'));
    for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content);
    const error = await loadTokenizer(dir).catch((e: unknown) => e);
    await rm(dir, { recursive: true });
    expect(error).toBeInstanceOf(UnfoldError);
    expect(String(error)).toMatch(message);
  });
});
