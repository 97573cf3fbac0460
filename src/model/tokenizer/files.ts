/**
 * @file Reads a tokeniser's files into one definition: `tokenizer.json`, or GPT-2's older pair `vocab.json` and
 * `merges.txt`, with `tokenizer_config.json` and `special_tokens_map.json` beside them for the named special tokens.
 * Mirrors what transformers' AutoTokenizer does for GPT-2; chat templates, truncation and padding are left out.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { brief, checked } from '../../checked.ts';
import { UnfoldError } from '../../errors.ts';
import { readJson } from '../../files.ts';
import { isListed, readText } from '../../read.ts';
import { namedTokens, type SideFiles, withAddedTokens } from './added-tokens.ts';
import { checkVocabulary, idLimit, vocabularyEntries, vocabularySchema } from './vocabulary.ts';

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
  model: z.looseObject({ vocab: vocabularySchema }),
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
  /** What a user should know of how the files were read. */
  notes?: readonly string[];
}

/**
 * Reads the tokeniser in `dir`.
 * @throws UnfoldError `bad-tokenizer` when files are missing or do not have the expected form.
 */
export async function readTokenizer(dir: string): Promise<TokenizerDefinition> {
  const files = await readSideFiles(dir);
  const named = namedTokens(files);
  const whole = join(dir, 'tokenizer.json');
  if (await isListed(whole)) {
    const { json, notes } = withPrefixSpace(await readWhole(whole), files);
    return { dir, ...named, notes, json: withAddedTokens(json, files, named) };
  }
  if ((await isListed(join(dir, 'vocab.json'))) && (await isListed(join(dir, 'merges.txt')))) {
    refuseOtherClass(files);
    // GPT-2's class has these defaults; files of OpenAI's time do not write them down.
    const end = '<|endoftext|>';
    const special = new Set([named.bos ?? end, named.eos ?? end, ...named.special, end]);
    const filled = { bos: named.bos ?? end, eos: named.eos ?? end, special };
    return { dir, ...filled, notes: [], json: withAddedTokens(await readPair(dir, files), files, filled) };
  }
  throw new UnfoldError('bad-tokenizer', {
    where: dir,
    expected: 'tokenizer.json, or vocab.json with merges.txt',
    found: 'neither',
    todo: REPAIR,
  });
}

/** The files beside the vocabulary; any may be absent. */
async function readSideFiles(dir: string): Promise<SideFiles> {
  const read = async (name: string): Promise<Record<string, unknown>> => {
    const path = join(dir, name);
    if (!(await isListed(path))) return {};
    const content = await readJson(path, REPAIR);
    if (content !== null && typeof content === 'object' && !Array.isArray(content))
      return content as Record<string, unknown>;
    throw new UnfoldError('bad-tokenizer', {
      where: path,
      expected: 'a JSON object',
      found: brief(content),
      todo: REPAIR,
    });
  };
  const [config, map, added] = await Promise.all(
    ['tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'].map(read),
  );
  return { dir, config: config!, map: map!, added: added! };
}

/** Classes that transformers builds as this file does; none named means GPT-2's, too. */
const GPT2_CLASSES = ['GPT2Tokenizer', 'GPT2TokenizerFast'];
const AS_IT_IS = ['PreTrainedTokenizerFast', 'TokenizersBackend'];

/** vocab.json and merges.txt say nothing of what other classes do before and between. */
function refuseOtherClass({ dir, config }: SideFiles): void {
  const name = config.tokenizer_class;
  if (name === undefined || name === null || [...GPT2_CLASSES, ...AS_IT_IS].includes(name as string)) return;
  throw new UnfoldError('bad-tokenizer', {
    where: `${dir}/tokenizer_config.json: tokenizer_class`,
    expected: `${GPT2_CLASSES.join(' or ')} beside vocab.json and merges.txt`,
    found: brief(name),
    todo: 'write its tokenizer.json in Python: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)',
  });
}

async function readWhole(path: string): Promise<TokenizerJson> {
  const json = checked(tokenizerJson, await readJson(path, REPAIR), {
    where: path,
    kind: 'bad-tokenizer',
    expected: 'a tokenizer.json of the tokenizers library (a model with a vocabulary)',
    todo: REPAIR,
  });
  checkVocabulary(json.model.vocab, `${path}: model.vocab`, REPAIR);
  const limit = idLimit(vocabularyEntries(json.model.vocab).length + json.added_tokens.length);
  const far = json.added_tokens.find(({ id }) => id >= limit);
  if (far === undefined) return json;
  throw new UnfoldError('bad-tokenizer', {
    where: `${path}: added_tokens, ${JSON.stringify(far.content.slice(0, 40))}`,
    expected: `an id below ${limit}`,
    found: String(far.id),
    todo: REPAIR,
  });
}

/**
 * Of GPT-2's classes tokenizer_config.json's `add_prefix_space` overrules the pre-tokeniser's, and is false where it is not
 * said. Of a class without rules of its own the file stands as it is, as in transformers 5; where 4 and 5 differ it is told.
 */
function withPrefixSpace(
  json: TokenizerJson,
  { config }: SideFiles,
): { json: TokenizerJson; notes: string[] } {
  const name = config.tokenizer_class ?? GPT2_CLASSES[0]!;
  const isGPT2 = GPT2_CLASSES.includes(name as string);
  const asked = config.add_prefix_space === true;
  const differs = (found: string, four: string, five: string) =>
    `${found}: transformers 4 ${four}, 5 ${five}; ids here are those of`;
  const notes: string[] = [];
  const { pre_tokenizer, normalizer } = json;
  if (pre_tokenizer?.type !== 'ByteLevel' || normalizer != null) {
    if (isGPT2 && json.model.type === 'BPE')
      notes.push(
        `${differs('tokenizer.json has a normalizer or pre-tokeniser that GPT2Tokenizer has not', 'heeds it', 'does not')} 4`,
      );
  }
  if (pre_tokenizer?.type !== 'ByteLevel' || pre_tokenizer.add_prefix_space === asked) return { json, notes };
  if (isGPT2)
    return { json: { ...json, pre_tokenizer: { ...pre_tokenizer, add_prefix_space: asked } }, notes };
  if (AS_IT_IS.includes(name as string))
    notes.push(
      `${differs('add_prefix_space', 'goes by tokenizer_config.json (false unless said)', 'by tokenizer.json')} 5`,
    );
  return { json, notes };
}

/** The tokenizer.json that is equivalent to vocab.json and merges.txt. */
async function readPair(dir: string, { config }: SideFiles): Promise<TokenizerJson> {
  const vocabPath = join(dir, 'vocab.json');
  const vocab = checked(z.record(z.string(), z.int().nonnegative()), await readJson(vocabPath, REPAIR), {
    where: vocabPath,
    kind: 'bad-tokenizer',
    expected: 'an object of token strings to ids',
    todo: REPAIR,
  });
  checkVocabulary(vocab, vocabPath, REPAIR);
  return tokenizerJson.parse({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: {
      type: 'ByteLevel',
      add_prefix_space: config.add_prefix_space === true,
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
      vocab,
      merges: await readMerges(join(dir, 'merges.txt'), vocab),
    },
  });
}

/** Lines `left right`, best first; the first line may be `#version: …`. */
async function readMerges(path: string, vocab: Record<string, number>): Promise<[string, string][]> {
  const text = await readText(path, { expected: 'the merges of a tokeniser', todo: REPAIR });
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
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
