/** @file From what a person types to token ids: a prompt with BOS in front as in TransformerLens, or ids in a file. */
import { brief } from '../checked.ts';
import { UnfoldError } from '../errors.ts';
import { readJson } from '../files.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * Ids of a prompt. As in TransformerLens, BOS goes in front unless told otherwise, and special tokens in the prompt
 * (`<|endoftext|>`) are special.
 * @throws UnfoldError `bad-tokens` for an empty prompt without BOS, or BOS for a tokeniser that has none.
 */
export async function promptIds(tokenizer: Tokenizer, prompt: string, prepend_bos = true): Promise<number[]> {
  const ids = [...(await tokenizer.encode(prompt, { special: true }))];
  if (!prepend_bos) {
    if (ids.length) return ids;
    const todo = 'give a prompt, or leave --no-prepend-bos out';
    throw new UnfoldError('bad-tokens', {
      where: 'the prompt',
      expected: 'at least one token',
      found: 'none',
      todo,
    });
  }
  if (tokenizer.bosId !== undefined) return [tokenizer.bosId, ...ids];
  throw new UnfoldError('bad-tokens', {
    where: `the tokeniser of ${tokenizer.dir}`,
    expected: 'a token for the beginning of a text',
    found: 'none',
    todo: 'add --no-prepend-bos',
  });
}

/**
 * Ids from a JSON file: `[[…], …]` with rows of equal length, or one row `[…]`. No BOS is added.
 * @throws UnfoldError `bad-tokens`, `bad-json`, `missing-file`.
 */
export async function readTokenIds(path: string): Promise<number[][]> {
  const json = await readJson(path, 'write the ids as [[1, 2, 3]]');
  const isRow = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isInteger);
  if (isRow(json) && json.length) return [json];
  if (Array.isArray(json) && json.length && json.every(isRow)) return json;
  throw new UnfoldError('bad-tokens', {
    where: path,
    expected: 'token ids as [[1, 2, 3], …] or [1, 2, 3]',
    found: brief(json),
    todo: 'write integers in rows of equal length',
  });
}
