/**
 * @file An example as people read it: some tokens before, the token, some tokens after. White space is folded so that a
 * passage is one line; special tokens are left out.
 */
import type { Tokenizer } from '../model/tokenizer.ts';
import type { Example } from './top-examples.ts';

/** A passage around an activation. */
export interface Passage extends Example {
  before: string;
  token: string;
  after: string;
}

/** Tokens shown in front of and behind the token. */
const BEFORE = 14;
const AFTER = 8;

/** Cuts the passage out of its context. */
export function passageOf(example: Example, tokens: ArrayLike<number>, tokenizer: Tokenizer): Passage {
  const { position } = example;
  const text = (from: number, to: number) => {
    const ids = Array.from(tokens).slice(Math.max(0, from), to);
    return tokenizer.decode(ids.filter((id) => !tokenizer.specialIds.has(id))).replace(/\s+/g, ' ');
  };
  const [token] = tokenizer.visiblePieces([tokens[position]!]);
  return {
    ...example,
    before: text(position - BEFORE, position).trimStart(),
    token: token!.replace(/\s+/g, (white) => (white.includes('\n') ? '⏎' : ' ')),
    after: text(position + 1, position + 1 + AFTER).trimEnd(),
  };
}

/** Leaves out examples whose neighbourhood is the same text as a stronger one's: tokens around the position are equal. */
export function distinctExamples(
  examples: readonly Example[],
  tokensOf: (context: number) => ArrayLike<number>,
): Example[] {
  const seen = new Set<string>();
  return examples.filter(({ context, position }) => {
    const key = Array.from(tokensOf(context))
      .slice(Math.max(0, position - 4), position + 3)
      .join(' ');
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
