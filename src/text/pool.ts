/**
 * @file From a dataset's files to packed contexts: read, encode beside, pack, store. Everything is a stream; memory
 * holds a few batches of text and one block of contexts.
 */
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import type { Dataset } from './dataset.ts';
import { encodePieces, type IdsPiece } from './encode.ts';
import type { Piece, ReadOptions } from './formats/format.ts';
import { type Packer, type PackOptions, packer } from './pack.ts';
import type { ResolvedCorpusSpec } from './spec.ts';
import type { ContextStore } from './store.ts';
import type { StoreWriter } from './store-writer.ts';

/** Everything but dataset and tokeniser that decides what a pool holds; part of the cache's key. */
export interface Packing extends Record<string, unknown> {
  text_column: string;
  tokens_column: string | null;
  document_separator: string | null;
  context_size: number;
  /** Ids, or null for none. */
  begin_batch: number | null;
  begin_sequence: number | null;
  separator: number | null;
  disable_concat_sequences: boolean;
  repack: boolean;
  special_tokens_in_text: boolean;
  pool_tokens: number | null;
}

/** The packing that a spec asks for. @throws UnfoldError `no-bos` if the tokeniser lacks a token that is needed. */
export function packingOf(spec: ResolvedCorpusSpec, tokenizer: Tokenizer, { manifest }: Dataset): Packing {
  if (spec.prepend_bos && spec.context_size < 2) throw noRoom();
  const id = (setting: TokenSetting) => tokenId(setting, spec[setting], tokenizer);
  return {
    text_column: manifest?.text_column ?? spec.text_column,
    tokens_column: spec.tokens_column,
    document_separator: spec.document_separator ?? manifest?.document_separator ?? null,
    context_size: spec.context_size,
    begin_batch: id('prepend_bos'),
    begin_sequence: id('begin_sequence_token'),
    separator: spec.disable_concat_sequences ? null : id('sequence_separator_token'),
    disable_concat_sequences: spec.disable_concat_sequences,
    repack: spec.repack,
    special_tokens_in_text: spec.special_tokens_in_text,
    pool_tokens: spec.pool_tokens,
  };
}

function noRoom(): UnfoldError {
  return new UnfoldError('bad-spec', {
    where: 'context_size',
    expected: 'room for BOS and a token: 2 or more',
    found: '1 with prepend_bos',
    todo: 'set a larger --context-size, or --no-prepend-bos (prepend_bos: false)',
  });
}

/** Settings that put a token in, and what leaves it out. */
const WITHOUT = {
  prepend_bos: '--no-prepend-bos (prepend_bos: false)',
  begin_sequence_token: '--begin-sequence-token null (begin_sequence_token: null)',
  sequence_separator_token: '--sequence-separator-token null (sequence_separator_token: null)',
} as const;

type TokenSetting = keyof typeof WITHOUT;

function tokenId(
  setting: TokenSetting,
  value: boolean | 'bos' | 'eos' | number | null,
  tokenizer: Tokenizer,
): number | null {
  if (value === null || value === false) return null;
  const choice = value === true ? 'bos' : value;
  const id = typeof choice === 'number' ? choice : choice === 'bos' ? tokenizer.bosId : tokenizer.eosId;
  if (id !== undefined && id < tokenizer.vocabSize) return id;
  throw new UnfoldError('no-bos', {
    where: `tokeniser of ${tokenizer.dir}, for ${setting}`,
    expected:
      typeof choice === 'number' ? `ids below ${tokenizer.vocabSize}` : `a ${choice.toUpperCase()} token`,
    found: id === undefined ? 'none' : String(id),
    todo:
      id === undefined && setting !== 'prepend_bos'
        ? `add ${WITHOUT[setting]}, or give the token as an id`
        : `add ${WITHOUT[setting]}${setting === 'prepend_bos' ? ` and, without a separator, ${WITHOUT.sequence_separator_token}` : ''}`,
  });
}

/** Tokenises a dataset into `writer`; what was written is dropped when anything goes wrong. */
export async function tokenisePool(
  dataset: Dataset,
  packing: Packing,
  tokenizer: Tokenizer,
  writer: StoreWriter,
  context: StageContext,
): Promise<ContextStore> {
  const total = dataset.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const bar = context.bar('tokenise', total, 'bytes');
  try {
    const counts = await fill(dataset, packing, tokenizer, writer, context.signal, (bytes, note) =>
      bar.update(bytes, note),
    );
    const store = await writer.finish(counts);
    bar.finish(
      `${counts.document_tokens} tokens of ${counts.documents} documents in ${store.header.contexts} contexts`,
    );
    return store;
  } catch (error) {
    bar.finish('stopped');
    await writer.abandon();
    throw error;
  }
}

interface Counts {
  documents: number;
  document_tokens: number;
  text_characters: number;
}

async function fill(
  dataset: Dataset,
  packing: Packing,
  tokenizer: Tokenizer,
  writer: StoreWriter,
  signal: AbortSignal,
  report: (bytes: number, note: string) => void,
): Promise<Counts> {
  const counts: Counts = { documents: 0, document_tokens: 0, text_characters: 0 };
  let bytes = 0;
  const pieces = readPieces(dataset, packing, tokenizer, signal, (more) => {
    bytes += more;
  });
  const take = taker(packing, writer, dataset, tokenizer);
  for await (const batch of encodePieces(pieces, tokenizer, { special: packing.special_tokens_in_text })) {
    if (signal.aborted) throw signal.reason;
    for (const piece of batch) {
      take.piece(piece, counts);
      if (counts.document_tokens >= (packing.pool_tokens ?? Number.POSITIVE_INFINITY)) break;
    }
    await writer.drain();
    report(bytes, `${writer.contexts} contexts`);
    if (counts.document_tokens >= (packing.pool_tokens ?? Number.POSITIVE_INFINITY)) break;
  }
  take.end();
  return counts;
}

/** The pieces of every file in order. @throws UnfoldError `empty-dataset` for a file without any text. */
export async function* readPieces(
  dataset: Dataset,
  packing: Pick<Packing, 'text_column' | 'tokens_column' | 'document_separator'>,
  tokenizer: Pick<Tokenizer, 'cutsBeforeSpace'>,
  signal: AbortSignal,
  advance: (bytes: number) => void,
): AsyncGenerator<Piece> {
  const { text_column, tokens_column, document_separator } = packing;
  const cut = tokenizer.cutsBeforeSpace;
  const options: ReadOptions = { text_column, tokens_column, document_separator, cut, signal, advance };
  for (const file of dataset.files) {
    let any = false;
    for await (const piece of dataset.format.read(file, options)) {
      any = true;
      yield piece;
    }
    if (!any) throw empty(file.path);
  }
}

function empty(path: string): UnfoldError {
  return new UnfoldError('empty-text', {
    where: path,
    expected: 'some text',
    found: 'an empty file, or no row with text',
    todo: 'remove the file from the dataset',
  });
}

/** Puts encoded pieces into contexts: packed, or row by row for ids that are contexts already. */
function taker(packing: Packing, writer: StoreWriter, dataset: Dataset, tokenizer: Tokenizer) {
  const pack: Packer = packer(packOptions(packing), (context) => writer.add(context));
  return {
    piece({ ids, starts, characters }: IdsPiece, counts: Counts): void {
      if (starts) counts.documents++;
      counts.document_tokens += ids.length;
      counts.text_characters += characters;
      const made = characters === 0 && ids.length > 0;
      if (made) refuseForeign(ids, tokenizer, dataset, counts.documents - 1);
      if (made && !packing.repack) writer.add(row(ids, packing, dataset, counts.documents - 1));
      else pack.push(ids, starts);
    },
    end: () => pack.end(),
  };
}

function packOptions(packing: Packing): PackOptions {
  return {
    context_size: packing.context_size,
    beginBatch: packing.begin_batch ?? undefined,
    beginSequence: packing.begin_sequence ?? undefined,
    separator: packing.separator ?? undefined,
    disableConcat: packing.disable_concat_sequences,
  };
}

/** The first `context_size` ids of a row that is a context already. */
function row(ids: Int32Array, { context_size }: Packing, dataset: Dataset, index: number): Int32Array {
  if (ids.length >= context_size) return ids.subarray(0, context_size);
  throw new UnfoldError('bad-tokens', {
    where: `dataset "${dataset.name}": row ${index}`,
    expected: `at least context_size = ${context_size} token ids`,
    found: `${ids.length}`,
    todo: `set --context-size ${ids.length}, or --repack to pack the rows as documents`,
  });
}

/** Ids that were made elsewhere may be another tokeniser's. */
function refuseForeign(ids: Int32Array, tokenizer: Tokenizer, dataset: Dataset, index: number): void {
  const wrong = ids.find((id) => id >= tokenizer.vocabSize);
  if (wrong === undefined) return;
  throw new UnfoldError('bad-tokens', {
    where: `dataset "${dataset.name}": row ${index}`,
    expected: `ids below ${tokenizer.vocabSize}, as the tokeniser of ${tokenizer.dir} makes them`,
    found: String(wrong),
    todo: 'tokenise the text again with this model, or choose the model the ids were made for',
  });
}
