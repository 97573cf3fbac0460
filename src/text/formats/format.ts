/**
 * @file The contract of a text format: a file becomes a stream of pieces of documents. One file per variant beside
 * this one; `test/text/formats.test.ts` holds every variant to the same claims.
 */
import { brief } from '../../checked.ts';
import { UnfoldError } from '../../errors.ts';

/** A piece of a document's text. Pieces come in order and join without a gap. */
export interface TextPiece {
  text: string;
  /** True for the first piece of a document. */
  starts: boolean;
}

/** A document of ids that were made elsewhere, always whole. */
export interface RowPiece {
  ids: Int32Array;
  starts: boolean;
}

/** What a format yields. */
export type Piece = TextPiece | RowPiece;

/** A file of a dataset. */
export interface SourceFile {
  path: string;
  bytes: number;
}

/** What a format may need to know. */
export interface ReadOptions {
  text_column: string;
  tokens_column: string | null;
  document_separator: string | null;
  /** False: a document is handed on whole (the tokeniser cannot be cut at spaces). */
  cut: boolean;
  signal: AbortSignal;
  /** Told how many more bytes of the file have been read, for progress. */
  advance(bytes: number): void;
}

/** Reads one kind of file. */
export interface TextFormat {
  readonly name: string;
  /** Endings without `.gz`, with the dot. */
  readonly endings: readonly string[];
  read(file: SourceFile, options: ReadOptions): AsyncIterable<Piece>;
}

/** Columns taken for token ids when there is no text column, in this order (as SAELens). */
export const TOKEN_COLUMNS = ['tokens', 'input_ids', 'token_ids'] as const;

/** V8's strings end at 2^29 - 24 characters; stop well before: characters of a document that cannot be cut, or of a cell. */
export const MOST_CHARACTERS = 2 ** 28;

/**
 * Which column to read, and as what.
 * @throws UnfoldError `missing-column`, which lists the columns found; `bad-text` if there are two of the name
 */
export function chooseColumn(
  where: string,
  found: readonly string[],
  options: Pick<ReadOptions, 'text_column' | 'tokens_column'>,
): { column: string; kind: 'text' | 'ids' } {
  const chosen = choose(where, found, options);
  const count = found.filter((name) => name === chosen.column).length;
  if (count > 1) throw refuseColumn(where, chosen.column, chosen.kind, `${count} columns of that name`);
  return chosen;
}

function choose(
  where: string,
  found: readonly string[],
  { text_column, tokens_column }: Pick<ReadOptions, 'text_column' | 'tokens_column'>,
): { column: string; kind: 'text' | 'ids' } {
  if (tokens_column !== null) {
    if (found.includes(tokens_column)) return { column: tokens_column, kind: 'ids' };
    throw missingColumn(where, tokens_column, found, '--tokens-column');
  }
  if (found.includes(text_column)) return { column: text_column, kind: 'text' };
  const ids = text_column === 'text' ? TOKEN_COLUMNS.find((column) => found.includes(column)) : undefined;
  if (ids !== undefined) return { column: ids, kind: 'ids' };
  throw missingColumn(where, text_column, found, '--text-column');
}

function missingColumn(where: string, column: string, found: readonly string[], flag: string): UnfoldError {
  return new UnfoldError('missing-column', {
    where,
    expected: `a column "${column}"`,
    found: found.length === 0 ? 'no columns' : `columns ${found.map((name) => `"${name}"`).join(', ')}`,
    todo: `choose one of these with ${flag} NAME`,
  });
}

/** The error of a column that holds neither text nor ids, whatever the rows say. */
export function refuseColumn(
  where: string,
  column: string,
  kind: 'text' | 'ids',
  found: string,
): UnfoldError {
  return kind === 'text' ? notText(where, column, found) : notIds(where, column, found);
}

function notText(where: string, column: string, found: string): UnfoldError {
  return new UnfoldError('bad-text', {
    where,
    expected: `text in column "${column}"`,
    found,
    todo: 'choose the column that holds the text with --text-column, or token ids with --tokens-column',
  });
}

function notIds(where: string, column: string, found: string): UnfoldError {
  return new UnfoldError('bad-tokens', {
    where,
    expected: `a list of token ids in column "${column}"`,
    found,
    todo: 'choose another column with --tokens-column, or the text with --text-column',
  });
}

/** The value of a text cell. @throws UnfoldError `bad-text` for anything but a string; null is an empty document. */
export function textCell(value: unknown, where: string, column: string): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'string')
    throw notText(where, column, Array.isArray(value) ? 'a list' : `a ${typeof value}`);
  if (value.length > MOST_CHARACTERS) throw tooLong(where, column, value.length);
  return value;
}

/** Text of a cell that is stored as UTF-8. @throws UnfoldError `bad-text` for other bytes, and for too many */
export function utf8Cell(bytes: Uint8Array, where: string, column: string): string {
  if (bytes.length > MOST_CHARACTERS) throw tooLong(where, column, bytes.length);
  try {
    return UTF8.decode(bytes);
  } catch {
    throw notText(where, column, 'bytes that are not UTF-8');
  }
}

/** A mark at the beginning is part of the text, as it is in Python. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function tooLong(where: string, column: string, length: number): UnfoldError {
  return new UnfoldError('bad-text', {
    where,
    expected: `up to ${MOST_CHARACTERS} characters in a cell of column "${column}"`,
    found: `${length}`,
    todo: 'divide the text into several rows',
  });
}

/** The value of a token cell: a list of ids. @throws UnfoldError `bad-tokens`. */
export function idsCell(value: unknown, where: string, column: string): Int32Array {
  if (!isList(value)) throw notIds(where, column, value === null ? 'a null' : `a ${typeof value}`);
  const ids = new Int32Array(value.length);
  for (let i = 0; i < ids.length; i++) {
    const id = typeof value[i] === 'bigint' ? Number(value[i]) : value[i];
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > 0x7fffffff)
      throw notIds(where, column, `the id ${brief(value[i])}`);
    ids[i] = id;
  }
  return ids;
}

const isList = (value: unknown): value is ArrayLike<unknown> =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));

/** Stops a reader between two pieces when the user asks for it. */
export function stopIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw signal.reason;
}
