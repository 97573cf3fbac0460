/** @file A file in pieces has the ids of the whole text, whatever the tokeniser does at the edges of a text. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TokenizerDefinition } from '../../src/model/tokenizer/files.ts';
import { buildTokenizer } from '../../src/model/tokenizer.ts';
import { Random } from '../../src/random.ts';
import { tokeniseFile } from '../../src/text/tokenise.ts';
import { type EditableTokenizer, novelsTokenizer } from '../support/tiny-model.ts';

/** Parts that edges are made of; a text is thousands of them. */
const PARTS = [
  'boats',
  'Rivers',
  "it's",
  ' ',
  '  ',
  '\n',
  '\r\n',
  '\n\n',
  '\t',
  ' \n',
  '.',
  ', ',
  '12',
  '<|endoftext|>',
  '<x>',
  'é',
  '\u00a0',
  '日本',
  '\u0301',
];

let dir: string;
let base: EditableTokenizer;
let texts: { path: string; text: string }[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unfold-cuts-'));
  base = await novelsTokenizer();
  const random = Random.of(7, 'cuts');
  const drawn = Array.from({ length: 6000 }, () => PARTS[random.below(PARTS.length)]!).join('');
  const lines = Array.from({ length: 400 }, (_, i) => `Line ${i} of a text about boats and rivers.\n`).join(
    '',
  );
  texts = await Promise.all(
    [drawn, lines].map(async (text, i) => {
      const path = join(dir, `${i}.txt`);
      await writeFile(path, text);
      return { path, text };
    }),
  );
});
afterAll(() => rm(dir, { recursive: true }));

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
const token = (more: object) => ({
  id: 4096,
  content: '<x>',
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
  ...more,
});

test.each<[string, (json: EditableTokenizer) => object]>([
  ["GPT-2's own", () => ({})],
  ['a prefix space', () => ({ pre_tokenizer: { ...byteLevel, add_prefix_space: true } })],
  ['no words', () => ({ pre_tokenizer: { ...byteLevel, use_regex: false } })],
  [
    'digits apart',
    () => ({
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel],
      },
    }),
  ],
  [
    'a prefix space in a sequence',
    () => ({
      pre_tokenizer: { type: 'Sequence', pretokenizers: [{ ...byteLevel, add_prefix_space: true }] },
    }),
  ],
  [
    'Metaspace',
    () => ({ pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true } }),
  ],
  [
    "BERT's words",
    () => ({
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [{ type: 'BertPreTokenizer' }, { ...byteLevel, use_regex: false }],
      },
    }),
  ],
  [
    'a pattern over lines',
    () => ({
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: '[^\\n]+\\n?' }, behavior: 'Isolated', invert: false },
          { ...byteLevel, use_regex: false },
        ],
      },
    }),
  ],
  ['stripped ends', () => ({ normalizer: { type: 'Strip', strip_left: true, strip_right: true } })],
  ['a prefix by a normalizer', () => ({ normalizer: { type: 'Prepend', prepend: ' ' } })],
  ['spaces made one', () => ({ normalizer: { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' } })],
  ['composed characters', () => ({ normalizer: { type: 'NFC' } })],
  [
    'a token that takes spaces before it',
    (json) => ({ added_tokens: [...json.added_tokens, token({ lstrip: true })] }),
  ],
  [
    'a token that takes spaces behind it',
    (json) => ({ added_tokens: [...json.added_tokens, token({ rstrip: true, special: false })] }),
  ],
  [
    'a token that is a word by itself',
    (json) => ({
      added_tokens: [...json.added_tokens, token({ content: 'boats', single_word: true, special: false })],
    }),
  ],
  [
    'a token with a space in it',
    (json) => ({ added_tokens: [...json.added_tokens, token({ content: '. \n', special: false })] }),
  ],
])('%s', async (_, change) => {
  const json = { ...base, ...change(base) } as unknown as TokenizerDefinition['json'];
  const tokenizer = buildTokenizer({
    dir: 'variant',
    json,
    bos: undefined,
    eos: undefined,
    special: new Set(),
  });
  for (const special of [false, true]) {
    for (const { path, text } of texts) {
      const whole = await tokenizer.encode(text, { special });
      const { ids } = await tokeniseFile(path, tokenizer, { special });
      expect(ids.length).toBeGreaterThan(0);
      expect(Buffer.from(ids.buffer).equals(Buffer.from(Int32Array.from(whole).buffer))).toBe(true);
    }
  }
});
