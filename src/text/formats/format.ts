/**
 * @file The contract of a text format: a file becomes a stream of pieces of documents. One file per variant beside
 * this one; `test/text/formats.test.ts` holds every variant to the same claims.
 */
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

/** Which column to read, and as what. @throws UnfoldError `missing-column`, which lists the columns found. */
export function chooseColumn(
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

/** The value of a text cell. @throws UnfoldError `bad-text` for anything but a string; null is an empty document. */
export function textCell(value: unknown, where: string, column: string): string {
  if (typeof value === 'string') return value;
  if (value === null || value === undefined) return '';
  throw new UnfoldError('bad-text', {
    where,
    expected: `text in column "${column}"`,
    found: Array.isArray(value) ? 'a list' : `a ${typeof value}`,
    todo: 'choose the column that holds the text with --text-column, or token ids with --tokens-column',
  });
}

/** The value of a token cell: a list of ids. @throws UnfoldError `bad-tokens`. */
export function idsCell(value: unknown, where: string, column: string): Int32Array {
  const list =
    ArrayBuffer.isView(value) || Array.isArray(value)
      ? Array.from(value as ArrayLike<number | bigint>, Number)
      : undefined;
  const wrong = list?.find((id) => !Number.isInteger(id) || id < 0 || id > 0x7fffffff);
  if (list !== undefined && wrong === undefined) return Int32Array.from(list);
  throw new UnfoldError('bad-tokens', {
    where,
    expected: `a list of token ids in column "${column}"`,
    found: list === undefined ? `a ${value === null ? 'null' : typeof value}` : `the id ${wrong}`,
    todo: 'choose another column with --tokens-column, or the text with --text-column',
  });
}

/** Stops a reader between two pieces when the user asks for it. */
export function stopIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw signal.reason;
}
