/**
 * @file Tokens that stand beside a vocabulary: `added_tokens_decoder` of tokenizer_config.json, or, in folders of before 2023,
 * special_tokens_map.json and added_tokens.json; and the named special tokens. Which file counts, in which order tokens get
 * their ids and what overrides what is transformers' doing (4.57 and 5.24 agree; `_from_pretrained` and the tokenizers
 * library's `add_tokens`): ids follow the vocabulary one by one, whatever number a file gives them.
 */
import { z } from 'zod';
import { checked } from '../../checked.ts';
import type { AddedToken, TokenizerJson } from './files.ts';
import { vocabularyEntries } from './vocabulary.ts';

type Settings = Readonly<Record<string, unknown>>;

/** The files beside a vocabulary. */
export interface SideFiles {
  /** tokenizer_config.json, special_tokens_map.json, added_tokens.json; empty where there is none. */
  config: Settings;
  map: Settings;
  added: Settings;
  /** The folder, for messages. */
  dir: string;
}

/** Special tokens by name, and those without a name of their own. */
export interface NamedTokens {
  bos: string | undefined;
  eos: string | undefined;
  /** All of them, in the order in which they are added. */
  special: Set<string>;
}

/** transformers' order. */
const NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/** special_tokens_map.json counts only where tokenizer_config.json does not list the added tokens, and then before it. */
function settingsOf({ config, map }: SideFiles): Settings {
  return config.added_tokens_decoder === undefined ? { ...config, ...map } : config;
}

/** The special tokens that the files name. */
export function namedTokens(files: SideFiles): NamedTokens {
  const settings = settingsOf(files);
  const own = NAMES.map((name) => contentOf(settings[name]));
  // Names that a model has for itself (`user_token`) came with transformers 5.
  const others = Object.keys(settings).filter((key) => key.endsWith('_token') && !NAMES.includes(key));
  const further = others.map((key) => contentOf(settings[key]));
  const all = [...own, ...further, ...extraTokens(files)].filter(
    (token) => token !== undefined && token !== '',
  );
  return { bos: own[0], eos: own[1], special: new Set(all as string[]) };
}

/** `additional_special_tokens`, in transformers 5 `extra_special_tokens`: a list, or an object of names. */
function extraTokens(files: SideFiles): (string | undefined)[] {
  const settings = settingsOf(files);
  return ['additional_special_tokens', 'extra_special_tokens'].flatMap((key) => {
    const value = settings[key];
    if (value === null || typeof value !== 'object') return [];
    return Object.values(value).map(contentOf);
  });
}

/** A special token is written as a string or as an AddedToken object. */
function contentOf(token: unknown): string | undefined {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

const flag = z.boolean().default(false);
const listed = z.object({
  content: z.string(),
  special: flag,
  lstrip: flag,
  rstrip: flag,
  single_word: flag,
  normalized: z.boolean().optional(),
});
/** Ids are numbers in the order of which tokens are added; the ids themselves follow the vocabulary. */
const decoder = z.record(z.string().regex(/^\d{1,10}$/, 'ids as keys'), listed);
const encoder = z.record(
  z.string(),
  z
    .int()
    .nonnegative()
    .max(2 ** 31),
);

interface Token {
  content: string;
  special: boolean;
  lstrip: boolean;
  rstrip: boolean;
  single_word: boolean;
  normalized?: unknown;
}

/** The definition with every added token under its id, and named ones marked as special. @throws UnfoldError `bad-tokenizer` */
export function withAddedTokens(
  json: TokenizerJson,
  files: SideFiles,
  { special }: NamedTokens,
): TokenizerJson {
  const table = new AddedTable(json);
  for (const [, token] of [...tokensOfFiles(json, files, special)].sort(([a], [b]) => a - b))
    table.add(token);
  const objects = objectsOf(files);
  for (const content of special) {
    const known = table.get(content);
    table.add(known ? { ...known, special: true } : (objects.get(content) ?? plainSpecial(content)));
  }
  return { ...json, added_tokens: table.tokens() };
}

function tokensOfFiles(
  json: TokenizerJson,
  files: SideFiles,
  special: ReadonlySet<string>,
): Map<number, Token> {
  const { config, added, dir } = files;
  const todo = 'copy the tokeniser files of the model from the Hugging Face hub again';
  const asking = (where: string) => ({ where: `${dir}/${where}`, kind: 'bad-tokenizer', todo });
  if (config.added_tokens_decoder !== undefined) {
    const where = asking('tokenizer_config.json: added_tokens_decoder');
    const entries = Object.entries(checked(decoder, config.added_tokens_decoder, where));
    return new Map(entries.map(([id, token]) => [Number(id), filled(token)]));
  }
  const own = Object.entries(checked(encoder, added, asking('added_tokens.json')));
  const tokens = own.map(([content, id]): [number, Token] => {
    const isSpecial = special.has(content);
    return [id, { ...plainSpecial(content), special: isSpecial, normalized: !isSpecial }];
  });
  return new Map([...tokens, ...json.added_tokens.map(({ id, ...token }): [number, Token] => [id, token])]);
}

/** Special tokens that are written as objects: how they match is said there. */
function objectsOf(files: SideFiles): Map<string, Token> {
  const lists = Object.values(settingsOf(files)).flatMap((value) => (Array.isArray(value) ? value : [value]));
  const objects = lists.map((value) => listed.safeParse(value).data).filter((token) => token !== undefined);
  return new Map(objects.map((token) => [token.content, { ...filled(token), special: true }]));
}

const filled = (token: z.output<typeof listed>): Token => ({
  ...token,
  normalized: token.normalized ?? !token.special,
});

const plainSpecial = (content: string): Token => ({
  content,
  special: true,
  lstrip: false,
  rstrip: false,
  single_word: false,
  normalized: false,
});

/** The library's table: a token has the id it has, or the vocabulary's, or the next one; the last settings stand. */
class AddedTable {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #tokens = new Map<string, AddedToken>();

  constructor({ model: { vocab }, added_tokens }: TokenizerJson) {
    this.#vocab = new Map(vocabularyEntries(vocab));
    for (const token of added_tokens) this.#tokens.set(token.content, token);
  }

  get(content: string): AddedToken | undefined {
    return this.#tokens.get(content);
  }

  add(token: Token): void {
    const { content } = token;
    if (content === '') return;
    const id = this.#tokens.get(content)?.id ?? this.#vocab.get(content) ?? this.#next();
    this.#tokens.set(content, { ...token, id } as AddedToken);
  }

  /** In the order of their ids. */
  tokens(): AddedToken[] {
    return [...this.#tokens.values()].sort((a, b) => a.id - b.id);
  }

  #next(): number {
    const size = this.#vocab.size;
    const most = [...this.#tokens.values()].reduce((most, { id }) => Math.max(most, id), -1);
    return most >= size ? most + 1 : size;
  }
}
