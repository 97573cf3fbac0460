/**
 * @file Contexts of token ids, wherever they come from: a corpus, a JSON file. Evaluation walks them in batches of equal
 * length.
 */
import { UnfoldError } from '../errors.ts';
import { readJson } from '../files.ts';

/** Contexts that can be asked for one at a time. A corpus is one. */
export interface TokenRows {
  readonly contexts: number;
  /** Token ids of context `i`. */
  tokens(i: number): ArrayLike<number>;
}

/** Consecutive contexts of one length. */
export interface TokenBatch {
  /** Index of the first. */
  start: number;
  rows: number[][];
}

/** Contexts in memory. */
export function rowsInMemory(rows: readonly ArrayLike<number>[]): TokenRows {
  return { contexts: rows.length, tokens: (i) => rows[i]! };
}

/** The first `contexts` of `rows`. */
export function firstRows(rows: TokenRows, contexts: number): TokenRows {
  return { contexts: Math.min(contexts, rows.contexts), tokens: (i) => rows.tokens(i) };
}

/** Walks in batches of at most `size` contexts; a change of length begins a new batch. */
export function* tokenBatches(rows: TokenRows, size: number): Generator<TokenBatch> {
  let batch: TokenBatch = { start: 0, rows: [] };
  for (let i = 0; i < rows.contexts; i++) {
    const next = Array.from(rows.tokens(i));
    if (batch.rows.length === size || (batch.rows.length > 0 && batch.rows[0]!.length !== next.length)) {
      yield batch;
      batch = { start: i, rows: [] };
    }
    batch.rows.push(next);
  }
  if (batch.rows.length > 0) yield batch;
}

/**
 * Reads `[[id, id, …], …]` (or one flat list: a single context).
 * @throws UnfoldError `bad-tokens` that names the entry
 */
export async function readTokenRows(path: string, d_vocab: number): Promise<TokenRows> {
  const value = await readJson(path, 'write the token ids as [[id, id, …], …]');
  const lists = Array.isArray(value) && value.length > 0 && !Array.isArray(value[0]) ? [value] : value;
  if (!Array.isArray(lists) || lists.length === 0)
    throw badTokens(path, 'lists of token ids', JSON.stringify(value).slice(0, 60));
  lists.forEach((row: unknown, i) => {
    if (!Array.isArray(row) || row.length === 0)
      throw badTokens(`${path}[${i}]`, 'a list of token ids', JSON.stringify(row));
    const bad = row.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= d_vocab);
    if (bad >= 0)
      throw badTokens(`${path}[${i}][${bad}]`, `an id from 0 to ${d_vocab - 1}`, JSON.stringify(row[bad]));
  });
  return rowsInMemory(lists as number[][]);
}

function badTokens(where: string, expected: string, found: string): UnfoldError {
  return new UnfoldError('bad-tokens', {
    where,
    expected,
    found,
    todo: 'make the ids with the tokeniser of the same model: unfold tokenise --model M --file F --json',
  });
}
