/**
 * @file Reads a tokeniser's files into one definition: `tokenizer.json`, or GPT-2's older pair `vocab.json` and
 * `merges.txt`, with `tokenizer_config.json` and `special_tokens_map.json` beside them for the named special tokens.
 * Mirrors what transformers' AutoTokenizer does for GPT-2; chat templates, truncation and padding are left out.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { exists, readJson } from '../../files.ts';

const REPAIR =
  'copy tokenizer.json (or vocab.json and merges.txt) from the model on the Hugging Face hub into this folder';

const addedToken = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string(),
  special: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  single_word: z.boolean().default(false),
});

const tokenizerJson = z.looseObject({
  added_tokens: z
    .array(addedToken)
    .nullish()
    .transform((tokens) => tokens ?? []),
  normalizer: z.looseObject({}).nullish(),
  pre_tokenizer: z.looseObject({ type: z.string() }).nullish(),
  decoder: z.looseObject({ type: z.string() }).nullish(),
  model: z.looseObject({ vocab: z.union([z.record(z.string(), z.number()), z.array(z.unknown())]) }),
});

/** The parsed content of a `tokenizer.json`. */
export type TokenizerJson = z.infer<typeof tokenizerJson>;
/** A token that is matched in the text before the model sees it. */
export type AddedToken = z.infer<typeof addedToken>;

/** A tokeniser before it is built. */
export interface TokenizerDefinition {
  /** The folder it came from, for messages. */
  dir: string;
  json: TokenizerJson;
  /** Strings of the named special tokens; undefined where the files name none. */
  bos: string | undefined;
  eos: string | undefined;
  /** Every named special token: beginning, end, unknown, padding, additional. */
  special: Set<string>;
}

/**
 * Reads the tokeniser in `dir`.
 * @throws UnfoldError `bad-tokenizer` when files are missing or do not have the expected form.
 */
export async function readTokenizer(dir: string): Promise<TokenizerDefinition> {
  const settings = await readSettings(dir);
  const named = namedTokens(settings);
  const whole = join(dir, 'tokenizer.json');
  if (await exists(whole)) return { dir, ...named, json: applyPrefixSpace(await readWhole(whole), settings) };
  if ((await exists(join(dir, 'vocab.json'))) && (await exists(join(dir, 'merges.txt')))) {
    // GPT-2's class has these defaults; files of OpenAI's time do not write them down.
    const end = '<|endoftext|>';
    const filled = {
      bos: named.bos ?? end,
      eos: named.eos ?? end,
      special: new Set([...named.special, end]),
    };
    return { dir, ...filled, json: await readPair(dir, settings, filled.special) };
  }
  throw new UnfoldError('bad-tokenizer', {
    where: dir,
    expected: 'tokenizer.json, or vocab.json with merges.txt',
    found: 'neither',
    todo: REPAIR,
  });
}

type Settings = Record<string, unknown>;

/** tokenizer_config.json over special_tokens_map.json; either may be absent. */
async function readSettings(dir: string): Promise<Settings> {
  const settings: Settings = {};
  for (const name of ['special_tokens_map.json', 'tokenizer_config.json']) {
    const path = join(dir, name);
    if (!(await exists(path))) continue;
    const content = await readJson(path, REPAIR);
    if (content !== null && typeof content === 'object') Object.assign(settings, content);
  }
  return settings;
}

function namedTokens(settings: Settings): {
  bos: string | undefined;
  eos: string | undefined;
  special: Set<string>;
} {
  const bos = contentOf(settings.bos_token);
  const eos = contentOf(settings.eos_token);
  const others = ['unk_token', 'pad_token', 'sep_token', 'cls_token', 'mask_token'].map((key) =>
    contentOf(settings[key]),
  );
  const additional = Array.isArray(settings.additional_special_tokens)
    ? settings.additional_special_tokens.map(contentOf)
    : [];
  const special = new Set([bos, eos, ...others, ...additional].filter((token) => token !== undefined));
  return { bos, eos, special };
}

/** A special token is written as a string or as an AddedToken object. */
function contentOf(token: unknown): string | undefined {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

async function readWhole(path: string): Promise<TokenizerJson> {
  const result = tokenizerJson.safeParse(await readJson(path, REPAIR));
  if (result.success) return result.data;
  throw new UnfoldError('bad-tokenizer', {
    where: path,
    expected: 'a tokenizer.json of the tokenizers library (a model with a vocabulary)',
    found: z.prettifyError(result.error).replaceAll('\n', '; '),
    todo: REPAIR,
  });
}

/** transformers lets tokenizer_config.json's `add_prefix_space` overrule the pre-tokeniser's. */
function applyPrefixSpace(json: TokenizerJson, settings: Settings): TokenizerJson {
  const asked = settings.add_prefix_space;
  const byteLevel = json.pre_tokenizer?.type === 'ByteLevel';
  if (!byteLevel || typeof asked !== 'boolean') return json;
  return { ...json, pre_tokenizer: { ...json.pre_tokenizer!, add_prefix_space: asked } };
}

/** The tokenizer.json that is equivalent to vocab.json and merges.txt. */
async function readPair(dir: string, settings: Settings, special: Set<string>): Promise<TokenizerJson> {
  const vocabPath = join(dir, 'vocab.json');
  const vocab = z.record(z.string(), z.int().nonnegative()).safeParse(await readJson(vocabPath, REPAIR));
  if (!vocab.success) {
    const found = z.prettifyError(vocab.error).replaceAll('\n', '; ').slice(0, 300);
    throw new UnfoldError('bad-tokenizer', {
      where: vocabPath,
      expected: 'an object of token strings to ids',
      found,
      todo: REPAIR,
    });
  }
  return tokenizerJson.parse({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(settings, special, vocab.data),
    normalizer: null,
    pre_tokenizer: {
      type: 'ByteLevel',
      add_prefix_space: settings.add_prefix_space === true,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: vocab.data,
      merges: await readMerges(join(dir, 'merges.txt'), vocab.data),
    },
  });
}

/** Added tokens of tokenizer_config.json, and the named special ones; those not in the vocabulary follow it. */
function addedTokens(settings: Settings, special: Set<string>, vocab: Record<string, number>): unknown[] {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const added = new Map<string, { id: number; content: string }>();
  const decoder = (settings.added_tokens_decoder ?? {}) as Record<string, unknown>;
  for (const [id, token] of Object.entries(decoder)) {
    const content = contentOf(token);
    if (content !== undefined)
      added.set(content, { ...flags, ...(token as object), id: Number(id), content });
  }
  let next = Math.max(-1, ...[...added.values()].map(({ id }) => id), maximum(Object.values(vocab))) + 1;
  for (const content of special) {
    if (!added.has(content)) added.set(content, { ...flags, id: vocab[content] ?? next++, content });
  }
  return [...added.values()].sort((a, b) => a.id - b.id);
}

function maximum(values: number[]): number {
  return values.reduce((most, value) => Math.max(most, value), -1);
}

/** Lines `left right`, best first; the first line may be `#version: …`. */
async function readMerges(path: string, vocab: Record<string, number>): Promise<[string, string][]> {
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => line.replace(/\r$/, ''));
  const merges: [string, string][] = [];
  for (const [index, line] of lines.entries()) {
    if (line === '' || (index === 0 && line.startsWith('#version'))) continue;
    const pair = line.split(' ');
    const known = pair.length === 2 && pair[0]! in vocab && pair[1]! in vocab && pair.join('') in vocab;
    if (!known) {
      throw new UnfoldError('bad-tokenizer', {
        where: `${path}:${index + 1}`,
        expected: 'two tokens of vocab.json, separated by a space, whose join is in vocab.json too',
        found: JSON.stringify(line.slice(0, 80)),
        todo: REPAIR,
      });
    }
    merges.push(pair as [string, string]);
  }
  return merges;
}
