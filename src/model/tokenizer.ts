/**
 * @file Text to token ids and back, exactly as transformers does it for a model: the Rust library `tokenizers` of
 * Hugging Face encodes on threads of its own, behind a cache of words; decoding is a table of bytes. Special tokens written inside a text are
 * ordinary text unless asked otherwise (transformers' `split_special_tokens=True`), so that a document that talks
 * about `<|endoftext|>` cannot end itself. No token is ever added: who wants a BOS puts `bosId` there. Chat templates,
 * padding and truncation are left out.
 */
import { statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Encoding, Tokenizer as NativeTokenizer } from 'tokenizers';
import { type StageContext, silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists, hashOf, readJson } from '../files.ts';
import { resolveTokenizerFiles } from './hub.ts';
import { bytesToText, bytesToVisible, tokenBytes } from './tokenizer/byte-level.ts';
import { readTokenizer, type TokenizerDefinition, type TokenizerJson } from './tokenizer/files.ts';
import { vocabularyEntries } from './tokenizer/vocabulary.ts';
import { WordCache } from './tokenizer/word-cache.ts';

/** How a text is encoded. */
export interface EncodeOptions {
  /** True: `<|endoftext|>` in the text is the special token. False (default): it is thirteen characters. */
  special?: boolean;
}

/** A model's tokeniser. Ids are non-negative integers below {@link vocabSize}. */
export interface Tokenizer {
  /** The folder its files are in. */
  readonly dir: string;
  /** One more than the largest id, added tokens included. */
  readonly vocabSize: number;
  /** Id that starts a context (TransformerLens: the end token's where there is no beginning token). */
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** Every special token's id: what `exclude_special_tokens` leaves out. */
  readonly specialIds: ReadonlySet<number>;
  /** SHA-256 of everything that decides which ids a text gets. */
  readonly hash: string;
  /** True if cutting a text in front of a space or line end that follows no white space never changes its ids. */
  readonly cutsBeforeSpace: boolean;
  encode(text: string, options?: EncodeOptions): Promise<Int32Array>;
  /** The texts are encoded in parallel, off the main thread; several calls may be in flight. */
  encodeBatch(texts: string[], options?: EncodeOptions): Promise<Int32Array[]>;
  /** Ill-formed UTF-8 becomes U+FFFD. @throws UnfoldError `bad-token` for an id that does not exist. */
  decode(ids: Ids, options?: { skipSpecial?: boolean }): string;
  /** Every id's own text, as TransformerLens's `to_str_tokens`: part of a character is U+FFFD. */
  pieces(ids: Ids): string[];
  /** As {@link pieces}, for people: bytes of a broken character as `\xNN`, an id without a token as `[id N]`. */
  visiblePieces(ids: Ids): string[];
  /** The id's string in the vocabulary (`Ġthe`), or undefined. */
  tokenOf(id: number): string | undefined;
  /** The id of a string of the vocabulary, or undefined. */
  idOf(token: string): number | undefined;
}

/** Token ids in any array. */
export type Ids = ArrayLike<number> & Iterable<number>;

/**
 * Loads the tokeniser of a model: a folder, a `tokenizer.json`, or a hub id (`openai-community/gpt2`).
 * @throws UnfoldError `bad-tokenizer`, or the hub's errors.
 */
export async function loadTokenizer(dirOrId: string, context: StageContext = silent()): Promise<Tokenizer> {
  const dir = isTokenizerFile(dirOrId) ? dirname(dirOrId) : await resolveTokenizerFiles(dirOrId, context);
  const definition = await readTokenizer(dir);
  for (const note of definition.notes ?? []) context.warn(`tokeniser of ${dir}: ${note}`);
  return buildTokenizer(await withModelIds(definition));
}

function isTokenizerFile(path: string): boolean {
  return (
    basename(path) === 'tokenizer.json' && (statSync(path, { throwIfNoEntry: false })?.isFile() ?? false)
  );
}

/** Where the tokeniser's files name no BOS or EOS, config.json's ids do. */
async function withModelIds(definition: TokenizerDefinition): Promise<TokenizerDefinition> {
  const path = join(definition.dir, 'config.json');
  if ((definition.bos !== undefined && definition.eos !== undefined) || !(await exists(path)))
    return definition;
  const config = (await readJson(path)) as { bos_token_id?: unknown; eos_token_id?: unknown };
  const byId = new Map(vocabularyOf(definition.json).map(([token, id]) => [id, token]));
  const named = (id: unknown) => (typeof id === 'number' ? byId.get(id) : undefined);
  const bos = definition.bos ?? named(config.bos_token_id);
  const eos = definition.eos ?? named(config.eos_token_id);
  const special = new Set([...definition.special, ...[bos, eos].filter((token) => token !== undefined)]);
  return { ...definition, bos, eos, special };
}

/** Every token and its id, added ones last. */
function vocabularyOf(json: TokenizerJson): [string, number][] {
  return [
    ...vocabularyEntries(json.model.vocab),
    ...json.added_tokens.map(({ content, id }): [string, number] => [content, id]),
  ];
}

/** Builds a tokeniser from its definition (see {@link loadTokenizer}). */
export function buildTokenizer(definition: TokenizerDefinition): Tokenizer {
  return new LibraryTokenizer(definition);
}

class LibraryTokenizer implements Tokenizer {
  readonly dir: string;
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly specialIds: ReadonlySet<number>;
  readonly hash: string;
  readonly cutsBeforeSpace: boolean;
  readonly #json: TokenizerJson;
  readonly #tokens: (string | undefined)[];
  readonly #ids: Map<string, number>;
  readonly #bytes: (Uint8Array | undefined)[] = [];
  readonly #byteLevel: boolean;
  readonly #plain: NativeTokenizer;
  readonly #renumbered: Map<number, number>;
  readonly #words: WordCache | undefined;
  #special: NativeTokenizer | undefined;

  constructor({ dir, json, bos, eos, special }: TokenizerDefinition) {
    this.dir = dir;
    this.#json = json;
    this.#ids = new Map(vocabularyOf(json));
    this.vocabSize = [...this.#ids.values()].reduce((most, id) => Math.max(most, id), -1) + 1;
    this.#tokens = Array.from({ length: this.vocabSize });
    for (const [token, id] of this.#ids) this.#tokens[id] = token;
    this.eosId = this.idOf(eos ?? '');
    this.bosId = this.idOf(bos ?? '') ?? this.eosId;
    const marked = json.added_tokens.filter((token) => token.special).map(({ content }) => content);
    this.specialIds = new Set(
      [...special, ...marked].map((token) => this.idOf(token)).filter((id) => id !== undefined),
    );
    this.hash = hashOf({
      json,
      bos: this.bosId ?? null,
      eos: this.eosId ?? null,
      special: [...this.specialIds].sort(),
    });
    this.#byteLevel = json.decoder?.type === 'ByteLevel';
    this.cutsBeforeSpace = cutsBeforeSpace(json);
    const kept = json.added_tokens.filter((token) => !token.special);
    this.#plain = native(dir, { ...json, added_tokens: kept, post_processor: null });
    this.#renumbered = renumbered(this.#plain, kept);
    if (wordsStandAlone(json)) {
      this.#words = new WordCache((words) => this.#encodeByLibrary(this.#plain, words, false));
    }
  }

  async encode(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    return (await this.encodeBatch([text], options))[0]!;
  }

  async encodeBatch(texts: string[], { special = false }: EncodeOptions = {}): Promise<Int32Array[]> {
    if (special) return this.#encodeByLibrary(this.#withSpecial(), texts, true);
    const words = this.#words;
    if (words === undefined) return this.#encodeByLibrary(this.#plain, texts, false);
    const covered = texts.map(WordCache.covers);
    const [looked, rest] = await Promise.all([
      words.encode(texts.filter((_, i) => covered[i])),
      this.#encodeByLibrary(
        this.#plain,
        texts.filter((_, i) => !covered[i]),
        false,
      ),
    ]);
    let next = 0;
    return covered.map((isCovered, i) => (isCovered ? looked[next++]! : rest[i - next]!));
  }

  async #encodeByLibrary(library: NativeTokenizer, texts: string[], special: boolean): Promise<Int32Array[]> {
    if (texts.length === 0) return [];
    const encodings = await library.encodeBatch(texts, { addSpecialTokens: false });
    return encodings.map((encoding) => this.#idsOf(encoding, special));
  }

  decode(ids: Ids, { skipSpecial = false }: { skipSpecial?: boolean } = {}): string {
    const kept = skipSpecial ? [...ids].filter((id) => !this.specialIds.has(id)) : [...ids];
    if (this.#byteLevel) return bytesToText(kept.map((id) => this.#bytesOf(id)));
    const tokens = kept.map((id) => this.#known(id));
    return this.#withSpecial().getDecoder()?.decode(tokens) ?? tokens.join(' ');
  }

  pieces(ids: Ids): string[] {
    return Array.from(ids, (id) => this.decode([id]));
  }

  visiblePieces(ids: Ids): string[] {
    return Array.from(ids, (id) => {
      if (this.#tokens[id] === undefined) return `[id ${id}]`;
      return this.#byteLevel ? bytesToVisible(this.#bytesOf(id)) : this.decode([id]);
    });
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }

  idOf(token: string): number | undefined {
    return this.#ids.get(token);
  }

  #withSpecial(): NativeTokenizer {
    this.#special ??= native(this.dir, { ...this.#json, post_processor: null });
    return this.#special;
  }

  #idsOf(encoding: Encoding, special: boolean): Int32Array {
    const ids = new Int32Array(encoding.getIds());
    if (special || this.#renumbered.size === 0) return ids;
    return ids.map((id) => this.#renumbered.get(id) ?? id);
  }

  #bytesOf(id: number): Uint8Array {
    let bytes = this.#bytes[id];
    if (bytes === undefined) {
      bytes = tokenBytes(this.#known(id));
      this.#bytes[id] = bytes;
    }
    return bytes;
  }

  #known(id: number): string {
    const token = this.#tokens[id];
    if (token !== undefined) return token;
    throw new UnfoldError('bad-token', {
      where: `tokeniser of ${this.dir}`,
      expected: `ids from 0 to ${this.vocabSize - 1}`,
      found: String(id),
      todo: 'check that the ids were made with this tokeniser',
    });
  }
}

function native(dir: string, json: TokenizerJson): NativeTokenizer {
  try {
    const library = NativeTokenizer.fromString(JSON.stringify(json));
    // A file may ask for truncation or padding; a document is never cut or padded behind the caller's back.
    library.disableTruncation();
    library.disablePadding();
    return library;
  } catch (cause) {
    throw new UnfoldError('bad-tokenizer', {
      where: dir,
      expected: 'a tokeniser that the tokenizers library can read',
      found: (cause as Error).message,
      todo: 'copy the tokeniser files of the model from the Hugging Face hub again',
      cause,
    });
  }
}

/**
 * Added tokens are numbered anew by the library when others were taken away: from its id to the true one.
 * Tokens of the model's own vocabulary keep their ids.
 */
function renumbered(library: NativeTokenizer, kept: TokenizerJson['added_tokens']): Map<number, number> {
  const map = new Map<number, number>();
  for (const { content, id } of kept) {
    const given = library.tokenToId(content);
    if (given !== null && given !== id) map.set(given, id);
  }
  return map;
}

/** See {@link Tokenizer.cutsBeforeSpace}: true of GPT-2's pre-tokeniser, where no match spans such a place. */
function cutsBeforeSpace(json: TokenizerJson): boolean {
  const plain = json.normalizer == null && json.added_tokens.every((token) => token.special);
  const whole = json.added_tokens.every(
    (t) => !t.lstrip && !t.rstrip && !t.single_word && !/\s/.test(t.content),
  );
  const { type, use_regex, add_prefix_space } = (json.pre_tokenizer ?? {}) as Record<string, unknown>;
  // A space in front of each text that has none would stand in front of each piece.
  return plain && whole && type === 'ByteLevel' && use_regex !== false && add_prefix_space === false;
}

/** True if a word of GPT-2's pre-tokeniser has the same ids alone as in a text. */
function wordsStandAlone(json: TokenizerJson): boolean {
  const { type, dropout } = json.model as { type?: unknown; dropout?: unknown };
  return cutsBeforeSpace(json) && type === 'BPE' && !dropout;
}

/** Ids of a model's embedding that no token stands for: it is padded to a round number, or the vocabulary has holes. */
export function idsWithoutToken(tokenizer: Tokenizer, d_vocab: number): number[] {
  const all = Array.from({ length: d_vocab }, (_, id) => id);
  return all.filter((id) => tokenizer.tokenOf(id) === undefined);
}

/**
 * Refuses a tokeniser whose ids the model's embedding does not have, and warns of one that uses little of it.
 * @param d_vocab rows of the model's embedding; may exceed the vocabulary (padding to a round number).
 * @throws UnfoldError `tokenizer-mismatch`.
 */
export function assertFits(tokenizer: Tokenizer, d_vocab: number, context: StageContext = silent()): void {
  // A special token that was added without a row of its own never appears in text, so it does not count.
  let used = tokenizer.vocabSize;
  while (
    used > 0 &&
    tokenizer.specialIds.has(used - 1) &&
    ![tokenizer.bosId, tokenizer.eosId].includes(used - 1)
  )
    used--;
  if (used > d_vocab) {
    throw new UnfoldError('tokenizer-mismatch', {
      where: `tokeniser of ${tokenizer.dir}`,
      expected: `ids below ${d_vocab}, the rows of the model's embedding`,
      found: `ids up to ${used - 1}`,
      todo: "use the model's own tokeniser: leave --tokenizer out, or copy the files of the model you load",
    });
  }
  if (d_vocab > 1.25 * used + 1024) {
    context.warn(
      `the tokeniser of ${tokenizer.dir} has ${used} tokens, the model's embedding ${d_vocab} rows: is it the right one?`,
    );
  }
}
