/**
 * @file A corpus: the token contexts that a run sees, packed as in SAELens, in seeded random order, with random
 * access. The whole pool is tokenised once per (dataset, tokeniser, packing) and kept in a cache; order and part are a
 * view of it, so training and evaluation share the work and, under one seed, never a context.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { StageContext } from '../context.ts';
import { silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { hashOf } from '../files.ts';
import { lockPath } from '../lock.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { Random } from '../random.ts';
import { cacheDirectory } from './cache.ts';
import { findDataset } from './dataset.ts';
import { fingerprint } from './fingerprint.ts';
import { packingOf, tokenisePool } from './pool.ts';
import { type CorpusSpec, corpusSpecSchema, type ResolvedCorpusSpec } from './spec.ts';
import { type ContextStore, openStore, type StoreHeader } from './store.ts';
import { createStore } from './store-writer.ts';

/** Token contexts with random access, all of one length. */
export interface Corpus {
  /** How many there are. */
  readonly contexts: number;
  readonly contextSize: number;
  /** SHA-256 of everything that decides which tokens are where. */
  readonly hash: string;
  readonly spec: ResolvedCorpusSpec;
  /** SHA-256 of the dataset's content. */
  readonly datasetHash: string;
  /** The pool the contexts were drawn from. */
  readonly pool: Pick<StoreHeader, 'contexts' | 'documents' | 'document_tokens' | 'text_characters'>;
  /** Context `i`, a fresh array of {@link contextSize} ids. */
  tokens(i: number): Int32Array;
  /** Contexts `start` … `start + count - 1`, row after row. */
  tokensFor(start: number, count: number): Int32Array;
  /** The context's place in the dataset's own order. */
  poolIndex(i: number): number;
  close(): void;
}

/** Where a corpus is kept. */
export interface CorpusOptions {
  /** Folder for packed tokens; null keeps them in memory only. Default: {@link cacheDirectory}`/tokens`. */
  cacheDir?: string | null;
}

/**
 * Opens a corpus, tokenising the dataset if that has not been done before.
 * @throws UnfoldError `bad-spec`, `no-dataset`, `empty-dataset`, `too-few-contexts`, and what the formats throw.
 */
export async function openCorpus(
  spec: CorpusSpec,
  tokenizer: Tokenizer,
  options: CorpusOptions = {},
  context: StageContext = silent(),
): Promise<Corpus> {
  const settings = parseSpec(spec);
  const dataset = await findDataset(settings);
  const cacheDir = options.cacheDir === undefined ? join(cacheDirectory(), 'tokens') : options.cacheDir;
  const datasetHash = await fingerprint(dataset, cacheDir, context);
  const packing = packingOf(settings, tokenizer, dataset);
  const made_from = { dataset: datasetHash, tokenizer: tokenizer.hash, ...packing };
  const path = cacheDir === null ? null : join(cacheDir, `${hashOf(made_from).slice(0, 32)}.bin`);
  const store = path === null ? await make() : ((await sound(path)) ?? (await makeOnce(path)));
  return new StoredCorpus(settings, store, datasetHash, hashOf(made_from));

  /** Of several processes that need the same tokens at the same moment one makes them; the others wait for it. */
  async function makeOnce(path: string): Promise<ContextStore> {
    const lock = await lockPath(`${path}.lock`, { signal: context.signal, wait: Number.POSITIVE_INFINITY });
    try {
      return (await cached(path, context)) ?? (await make());
    } finally {
      await lock.release();
    }
  }

  async function make(): Promise<ContextStore> {
    const { context_size } = settings;
    const writer = await createStore(path, { context_size, vocabSize: tokenizer.vocabSize, made_from });
    return tokenisePool(dataset, packing, tokenizer, writer, context);
  }
}

/** Fills in the defaults. @throws UnfoldError `bad-spec`, naming every setting that is wrong. */
export function parseSpec(spec: CorpusSpec): ResolvedCorpusSpec {
  const parsed = corpusSpecSchema.safeParse(spec);
  if (parsed.success) return parsed.data;
  throw new UnfoldError('bad-spec', {
    where: 'settings of the text',
    expected: `settings among ${Object.keys(corpusSpecSchema.shape).join(', ')}`,
    found: z.prettifyError(parsed.error).replaceAll('\n', '; '),
    todo: 'mend the setting',
  });
}

async function sound(path: string): Promise<ContextStore | undefined> {
  const opened = await openStore(path);
  return opened && 'store' in opened ? opened.store : undefined;
}

async function cached(path: string, context: StageContext): Promise<ContextStore | undefined> {
  const opened = await openStore(path);
  if (opened === undefined) return undefined;
  if ('store' in opened) return opened.store;
  context.warn(`the token cache ${path} is damaged (${opened.damaged}): it is made again`);
  return undefined;
}

/** A corpus of contexts that are at hand already (tests, prompts): rows in their order. */
export function corpusOf(rows: readonly ArrayLike<number>[], spec: Partial<CorpusSpec> = {}): Corpus {
  const context_size = rows[0]?.length ?? 1;
  const settings = corpusSpecSchema.parse({ dataset: 'rows', shuffle: false, ...spec, context_size });
  const digest = hashOf(rows.map((row) => Array.from(row)));
  const counts = { contexts: rows.length, documents: rows.length, document_tokens: 0, text_characters: 0 };
  const header = {
    kind: 'unfold-tokens',
    version: 1,
    made_from: {},
    dtype: 'uint32',
    context_size,
    ...counts,
    sha256: digest,
  } as const;
  const store = { header, read: (index: number, target: Int32Array) => target.set(rows[index]!), close() {} };
  return new StoredCorpus(settings, store, digest, digest);
}

class StoredCorpus implements Corpus {
  readonly contexts: number;
  readonly contextSize: number;
  readonly hash: string;
  readonly spec: ResolvedCorpusSpec;
  readonly datasetHash: string;
  readonly pool: Corpus['pool'];
  readonly #store: ContextStore;
  readonly #order: Uint32Array | undefined;

  constructor(spec: ResolvedCorpusSpec, store: ContextStore, datasetHash: string, poolHash: string) {
    const { seed, shuffle, skip_contexts } = spec;
    this.spec = spec;
    this.#store = store;
    this.datasetHash = datasetHash;
    this.pool = store.header;
    this.contextSize = store.header.context_size;
    this.contexts = part(spec, store.header);
    this.hash = hashOf({
      pool: poolHash,
      order: shuffle ? seed : null,
      skip_contexts,
      contexts: this.contexts,
    });
    this.#order = shuffle ? Random.of(seed, 'contexts').permutation(store.header.contexts) : undefined;
  }

  tokens(i: number): Int32Array {
    return this.tokensFor(i, 1);
  }

  tokensFor(start: number, count: number): Int32Array {
    const size = this.contextSize;
    const rows = new Int32Array(count * size);
    for (let i = 0; i < count; i++)
      this.#store.read(this.poolIndex(start + i), rows.subarray(i * size, (i + 1) * size));
    return rows;
  }

  poolIndex(i: number): number {
    if (!(i >= 0 && i < this.contexts)) throw new RangeError(`context ${i} of ${this.contexts}`);
    const place = this.spec.skip_contexts + i;
    return this.#order?.[place] ?? place;
  }

  close(): void {
    this.#store.close();
  }
}

/** How many contexts are left after `skip_contexts`, `max_contexts` and `max_tokens`. */
function part(spec: ResolvedCorpusSpec, { contexts, context_size, document_tokens }: StoreHeader): number {
  const byTokens =
    spec.max_tokens === null ? Number.POSITIVE_INFINITY : Math.floor(spec.max_tokens / context_size);
  const count = Math.min(
    contexts - spec.skip_contexts,
    spec.max_contexts ?? Number.POSITIVE_INFINITY,
    byTokens,
  );
  if (count >= 1) return count;
  const tooSmall = byTokens < 1;
  throw new UnfoldError('too-few-contexts', {
    where: `dataset "${spec.dataset}"`,
    expected: tooSmall
      ? `max_tokens of at least one context of ${context_size}`
      : `more than ${spec.skip_contexts} contexts of ${context_size} tokens`,
    found: tooSmall ? `max_tokens ${spec.max_tokens}` : `${contexts} contexts (${document_tokens} tokens)`,
    todo: tooSmall
      ? 'set a larger --max-tokens'
      : 'add text, shorten --context-size, or lower --skip-contexts',
  });
}
