/** @file The vocabulary of a tokenizer.json or vocab.json: tokens and ids, bounded by how many the file holds before they are used. */
import { z } from 'zod';
import { brief } from '../../checked.ts';
import { UnfoldError } from '../../errors.ts';

/** Tokens to ids, or (Unigram) a list of tokens with their scores, whose places are the ids. */
export const vocabularySchema = z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]);
export type Vocabulary = z.output<typeof vocabularySchema>;

/** Every token and its id. */
export function vocabularyEntries(vocab: Vocabulary): [string, number][] {
  return Array.isArray(vocab)
    ? vocab.map((entry, id): [string, number] => [String((entry as unknown[])[0]), id])
    : (Object.entries(vocab) as [string, number][]);
}

/** Ids that a vocabulary of `tokens` entries may have: some leave holes, none is mostly holes. */
export const idLimit = (tokens: number): number => 4 * tokens + 65_536;

/**
 * Holds ids against what is there: whole numbers, not far beyond the number of tokens, each once.
 * @throws UnfoldError `bad-tokenizer` that names the token
 */
export function checkVocabulary(vocab: Vocabulary, where: string, todo: string): void {
  const refuse = (token: string, expected: string, found: unknown) => {
    const at = `${where}: token ${JSON.stringify(token.slice(0, 40))}`;
    throw new UnfoldError('bad-tokenizer', { where: at, expected, found: brief(found), todo });
  };
  if (Array.isArray(vocab)) {
    const wrong = vocab.findIndex((entry) => !Array.isArray(entry) || typeof entry[0] !== 'string');
    if (wrong >= 0) refuse(`number ${wrong}`, 'a token with its score', vocab[wrong]);
    return;
  }
  const entries = Object.entries(vocab);
  const limit = idLimit(entries.length);
  const seen = new Map<number, string>();
  for (const [token, id] of entries) {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= limit)
      refuse(token, `an id from 0 to ${limit - 1}, for ${entries.length} tokens`, id);
    const other = seen.get(id as number);
    if (other !== undefined)
      refuse(token, 'an id of its own', `${id}, as ${JSON.stringify(other.slice(0, 40))}`);
    seen.set(id as number, token);
  }
}
