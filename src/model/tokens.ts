/**
 * @file Token ids as the model reads them: one rectangular batch, checked before anything runs. Padding (on either side)
 * is given by an attention mask as in transformers: 1 for a real token, 0 for padding.
 */
import { UnfoldError } from '../errors.ts';
import * as tf from '../tensor/tf.ts';
import type { GPT2Config } from './config.ts';

/** One row of ids, rows of equal length, or a flat array with its shape [batch, pos]. */
export type Tokens =
  | readonly number[]
  | readonly (readonly number[] | Int32Array)[]
  | Int32Array
  | { ids: Int32Array | Uint16Array | Uint32Array; shape: readonly [batch: number, pos: number] };

/** A checked batch. */
export interface TokenBatch {
  ids: Int32Array;
  batch: number;
  pos: number;
  /** [batch * pos], 1 for real tokens; absent without padding. */
  mask?: Uint8Array;
}

/**
 * Checks a batch against the model.
 * @throws UnfoldError `bad-tokens`: empty, ragged, longer than the context, an id outside of the vocabulary, a mask that
 * does not fit.
 */
export function tokenBatch(
  cfg: GPT2Config,
  tokens: Tokens,
  attentionMask?: readonly (readonly number[])[],
  past = 0,
): TokenBatch {
  const { rows, pos } = flatten(tokens);
  const ids = Int32Array.from(rows);
  const batch = pos ? ids.length / pos : 0;
  if (ids.length === 0)
    throw badTokens('at least one token', 'none', 'give a prompt or ids; BOS alone is enough');
  if (pos + past > cfg.n_ctx) {
    const found = past ? `${pos} tokens after ${past} earlier ones` : `${pos} tokens`;
    throw badTokens(
      `at most ${cfg.n_ctx} tokens (n_ctx)`,
      found,
      'shorten the input, or cut it into contexts',
    );
  }
  const wrong = rows.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= cfg.d_vocab);
  if (wrong >= 0) {
    const found = `${rows[wrong]} in row ${Math.floor(wrong / pos)}, position ${wrong % pos}`;
    throw badTokens(`ids from 0 to ${cfg.d_vocab - 1}`, found, "tokenise with the model's own tokeniser");
  }
  const mask = attentionMask && maskOf(attentionMask, batch, pos);
  return mask ? { ids, batch, pos, mask } : { ids, batch, pos };
}

interface Flat {
  rows: { findIndex(test: (id: number) => boolean): number; [index: number]: number } & Iterable<number> &
    ArrayLike<number>;
  pos: number;
}

function flatten(tokens: Tokens): Flat {
  if ('shape' in tokens) {
    const [batch, pos] = tokens.shape;
    if (batch * pos === tokens.ids.length) return { rows: tokens.ids, pos };
    throw badTokens(
      `${batch} x ${pos} ids (shape)`,
      `${tokens.ids.length} ids`,
      'give the shape of the array',
    );
  }
  if (tokens instanceof Int32Array) return { rows: tokens, pos: tokens.length };
  if (tokens.every((id) => typeof id === 'number')) return { rows: tokens, pos: tokens.length };
  const rows = tokens as readonly (readonly number[] | Int32Array)[];
  const pos = rows[0]!.length;
  const ragged = rows.findIndex((row) => row.length !== pos);
  if (ragged < 0) return { rows: rows.flatMap((row) => [...row]), pos };
  const found = `${rows[ragged]!.length} in row ${ragged}`;
  throw badTokens(`${pos} ids in every row, as in row 0`, found, 'pad the rows and give an attention mask');
}

function maskOf(mask: readonly (readonly number[])[], batch: number, pos: number): Uint8Array | undefined {
  const flat = mask.flat();
  if (
    mask.length !== batch ||
    mask.some((row) => row.length !== pos) ||
    flat.some((m) => m !== 0 && m !== 1)
  ) {
    const expected = `an attention mask of ${batch} x ${pos} zeros and ones`;
    throw badTokens(
      expected,
      `${mask.length} rows of ${mask[0]?.length}`,
      'give 1 for real tokens and 0 for padding',
    );
  }
  return flat.includes(0) ? Uint8Array.from(flat) : undefined;
}

/** Positions count real tokens from 0; padding gets 0 (and its embedding is masked afterwards). */
export function tokenPositions(mask: Uint8Array, pos: number): Int32Array {
  let seen = 0;
  return Int32Array.from(mask, (real, i) => {
    if (i % pos === 0) seen = 0;
    seen += real;
    return Math.max(seen - 1, 0);
  });
}

/** [batch, 1, query, key] bool: causal, and no key that is padding. */
export function paddedMask({ mask, batch, pos }: TokenBatch): tf.Tensor4D {
  const allowed = new Uint8Array(batch * pos * pos);
  for (let b = 0, i = 0; b < batch; b++) {
    for (let query = 0; query < pos; query++) {
      for (let key = 0; key < pos; key++, i++) allowed[i] = key <= query ? mask![b * pos + key]! : 0;
    }
  }
  return tf.tensor4d(allowed, [batch, 1, pos, pos], 'bool');
}

function badTokens(expected: string, found: string, todo: string): UnfoldError {
  return new UnfoldError('bad-tokens', { where: 'the model input', expected, found, todo });
}
