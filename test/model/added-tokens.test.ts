/**
 * @file Files beside a vocabulary that decide ids. Lengths and ids are those that transformers gave for the same folders:
 * 4.57.3 and 5.24.0 alike, `AutoTokenizer.from_pretrained(DIR)`, `t(TEXT, add_special_tokens=False)`, and for ids in ordinary
 * text with `split_special_tokens=True`.
 */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { loadTokenizer } from '../../src/model/tokenizer.ts';
import { type EditableTokenizer, novelsTokenizer } from '../support/tiny-model.ts';

const TEXT = 'cat <|user|> hi <|bot|>';
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'unfold-added-'));
});
afterAll(() => rm(root, { recursive: true }));

type Files = Record<string, unknown>;
let made = 0;

async function folder(files: Files, edit?: (json: EditableTokenizer) => void): Promise<string> {
  const dir = join(root, String(made++));
  await mkdir(dir);
  const base = edit ? ['config.json'] : ['config.json', 'vocab.json', 'merges.txt'];
  for (const name of base) await cp(join('checkpoints/novels-4l', name), join(dir, name));
  if (edit) {
    const json = await novelsTokenizer();
    edit(json);
    await writeFile(join(dir, 'tokenizer.json'), JSON.stringify(json));
  }
  for (const [name, content] of Object.entries(files))
    await writeFile(join(dir, name), JSON.stringify(content));
  return dir;
}

const same = () => {};
const config = (more: object = {}) => ({
  'tokenizer_config.json': { tokenizer_class: 'GPT2Tokenizer', ...more },
});
const fast = (more: object = {}) => ({
  'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast', ...more },
});
const listed = (id: number, content: string, more: object = {}) => ({
  [id]: {
    content,
    lstrip: false,
    rstrip: false,
    normalized: false,
    single_word: false,
    special: true,
    ...more,
  },
});
const added = { 'added_tokens.json': { '<|user|>': 4097, '<|pad|>': 4096, '<|bot|>': 4098 } };
const end = '<|endoftext|>';
const map = {
  'special_tokens_map.json': { bos_token: end, eos_token: end, unk_token: end, pad_token: '<|pad|>' },
};
const two = {
  ...listed(4095, end),
  ...listed(4096, '<|user|>'),
  ...listed(4097, '<|bot|>', { special: false }),
};
const withTwo = (json: EditableTokenizer) => {
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  json.added_tokens.push({ id: 4096, content: '<|user|>', special: false, ...plain });
  json.added_tokens.push({ id: 4097, content: '<|bot|>', special: true, ...plain });
};
const withSpace = (json: EditableTokenizer) => Object.assign(json.pre_tokenizer!, { add_prefix_space: true });

const CAT = [99, 297];
const USER = [60, 124, 436, 268, 124, 62];
const BOT = [60, 124, 98, 304, 124, 62];
const ids = (user: number[], bot: number[], cat = CAT) => [...cat, 32, ...user, 285, 105, 32, ...bot];

describe('a folder of', () => {
  test.each<[string, Files, ((json: EditableTokenizer) => void) | undefined, number, number[], number[]]>([
    [
      'vocab.json, added_tokens.json and special_tokens_map.json',
      { ...added, ...map, ...config() },
      undefined,
      4099,
      ids([4097], [4098]),
      ids([4097], [4098]),
    ],
    [
      'the same without the map',
      { ...added, ...config() },
      undefined,
      4099,
      ids([4097], [4098]),
      ids([4097], [4098]),
    ],
    [
      'the same without tokenizer_config.json',
      { ...added, ...map },
      undefined,
      4099,
      ids([4097], [4098]),
      ids([4097], [4098]),
    ],
    [
      'added_tokens.json with a gap: ids follow the vocabulary',
      { 'added_tokens.json': { '<|user|>': 5000, '<|bot|>': 4096 }, ...config() },
      undefined,
      4098,
      ids([4097], [4096]),
      ids([4097], [4096]),
    ],
    [
      'added_tokens.json with an id that is taken',
      { 'added_tokens.json': { '<|user|>': 12, the: 4096 }, ...config() },
      undefined,
      4097,
      ids([4096], BOT),
      ids([4096], BOT),
    ],
    [
      'added_tokens_decoder',
      config({ added_tokens_decoder: two }),
      undefined,
      4098,
      ids([4096], [4097]),
      ids(USER, [4097]),
    ],
    [
      'added_tokens_decoder, before which the older files do not count',
      {
        ...added,
        ...map,
        ...config({ added_tokens_decoder: { ...listed(4095, end), ...listed(4096, '<|x|>') } }),
      },
      undefined,
      4097,
      ids(USER, BOT),
      ids(USER, BOT),
    ],
    [
      'additional_special_tokens',
      config({ additional_special_tokens: ['<|user|>', '<|bot|>'] }),
      undefined,
      4098,
      ids([4096], [4097]),
      ids(USER, BOT),
    ],
    [
      'extra_special_tokens as names',
      config({ extra_special_tokens: { user_token: '<|user|>' } }),
      undefined,
      4097,
      ids([4096], BOT),
      ids(USER, BOT),
    ],
    [
      'a pair with add_prefix_space',
      config({ add_prefix_space: true }),
      undefined,
      4096,
      ids(USER, BOT, [3121]),
      ids(USER, BOT, [3121]),
    ],
    [
      'tokenizer.json and added_tokens_decoder with more',
      config({ added_tokens_decoder: two }),
      same,
      4098,
      ids([4096], [4097]),
      ids(USER, [4097]),
    ],
    [
      'tokenizer.json and added_tokens.json',
      { ...added, ...config() },
      same,
      4099,
      ids([4097], [4098]),
      ids([4097], [4098]),
    ],
    [
      'tokenizer.json with tokens, one of them named as padding',
      config({ pad_token: '<|user|>' }),
      withTwo,
      4098,
      ids([4096], [4097]),
      ids(USER, BOT),
    ],
    [
      "tokenizer.json with a prefix space that GPT-2's class does not say",
      config(),
      withSpace,
      4096,
      ids(USER, BOT),
      ids(USER, BOT),
    ],
    ['the same without tokenizer_config.json', {}, withSpace, 4096, ids(USER, BOT), ids(USER, BOT)],
    [
      'tokenizer.json without, tokenizer_config.json with it',
      config({ add_prefix_space: true }),
      same,
      4096,
      ids(USER, BOT, [3121]),
      ids(USER, BOT, [3121]),
    ],
  ])('%s', async (_, files, edit, length, special, text) => {
    const tokenizer = await loadTokenizer(await folder(files, edit));
    expect(tokenizer.vocabSize).toBe(length);
    expect([...(await tokenizer.encode(TEXT, { special: true }))]).toEqual(special);
    expect([...(await tokenizer.encode(TEXT))]).toEqual(text);
    expect(tokenizer.decode(special)).toBe(text[0] === 3121 ? ` ${TEXT}` : TEXT);
  });

  test('tokens that take the space beside them, from tokenizer_config.json over tokenizer.json', async () => {
    const strip = { ...listed(4095, end, { lstrip: true, rstrip: true }) };
    const tokenizer = await loadTokenizer(await folder(config({ added_tokens_decoder: strip }), same));
    const found = await tokenizer.encode(`the ${end} Old`, { special: true });
    expect([...found]).toEqual([508, 4095, 79, 306]);
  });
});

describe('where transformers 4 and 5 differ it is told', () => {
  test.each<[string, Files, (json: EditableTokenizer) => void]>([
    ['a prefix space of tokenizer.json alone, without rules of a class', fast(), withSpace],
    ['one of tokenizer_config.json alone', fast({ add_prefix_space: true }), same],
    [
      'a normalizer beside GPT2Tokenizer',
      config(),
      (json) => Object.assign(json, { normalizer: { type: 'Lowercase' } }),
    ],
  ])('%s', async (_, files, edit) => {
    const warned: string[] = [];
    await loadTokenizer(await folder(files, edit), { ...silent(), warn: (text) => void warned.push(text) });
    expect(warned.join()).toMatch(/transformers 4 .*5 .*ids here are those of [45]/);
  });
});

describe('what cannot be is refused by file and key', () => {
  const vocab = (id: unknown) => (json: EditableTokenizer) => Object.assign(json.model.vocab, { t: id });
  test.each<[string, Files, ((json: EditableTokenizer) => void) | undefined, RegExp]>([
    ['an id of 2^31', {}, vocab(2 ** 31), /tokenizer\.json: model\.vocab: token "t"[\s\S]*2147483648/],
    ['an id of 1e308', {}, vocab(1e308), /model\.vocab: token "t"[\s\S]*1e\+308/],
    ['a negative id', {}, vocab(-1), /model\.vocab: token "t"/],
    ['a fraction', {}, vocab(1.5), /model\.vocab: token "t"/],
    ['an id twice', {}, vocab(5), /an id of its own/],
    [
      'an added id far off',
      {},
      (json) => Object.assign(json.added_tokens[0]!, { id: 2 ** 31 }),
      /added_tokens/,
    ],
    [
      'added_tokens.json without numbers',
      { 'added_tokens.json': { x: 'y' }, ...config() },
      undefined,
      /added_tokens\.json/,
    ],
    ['a list as added_tokens.json', { 'added_tokens.json': [] }, undefined, /a JSON object/],
    [
      'an added_tokens_decoder of other keys',
      config({ added_tokens_decoder: { first: {} } }),
      same,
      /added_tokens_decoder/,
    ],
    [
      'vocab.json of another class',
      { 'tokenizer_config.json': { tokenizer_class: 'Qwen2Tokenizer' } },
      undefined,
      /tokenizer_class[\s\S]*Qwen2Tokenizer/,
    ],
  ])('%s', async (_, files, edit, message) => {
    await expect(loadTokenizer(await folder(files, edit))).rejects.toThrow(message);
  });
});
