/**
 * @file Plain text: a file is a document, or several with a separator between them. Long documents are handed on in
 * pieces that are cut in front of a space or line end after anything else, where GPT-2's pre-tokeniser always cuts, so that a file of any size goes through bounded memory and its ids are those of the whole.
 */
import { UnfoldError } from '../../errors.ts';
import { openText } from './bytes.ts';
import { MOST_CHARACTERS, type ReadOptions, type TextFormat, type TextPiece } from './format.ts';

/** Pieces of this size are encoded fastest (measured: half the time of 32 K, a third of a whole novel's). */
const PIECE_CHARACTERS = 2048;
/** White space in some version of Unicode, and what looks like it: never cut behind one. */
const MAY_BE_SPACE = /[\s\u0085\u180e\u200b-\u200f\u2060\ufeff]/u;
/** `.txt` and whatever else is text. */
export const plainText: TextFormat = {
  name: 'text',
  endings: ['.txt', '.text'],
  read: (file, options) => cutText(openText(file, options), file.path, options),
};

/** Text that arrives in chunks as pieces of documents. @throws UnfoldError `bad-text`; `where` names the text. */
export async function* cutText(
  texts: AsyncIterable<string>,
  where: string,
  options: Pick<ReadOptions, 'document_separator' | 'cut'>,
): AsyncGenerator<TextPiece> {
  const { document_separator: separator, cut } = options;
  // What could be the beginning of a separator, or be followed by a place to cut, is looked at again with the next text.
  const margin = Math.max(1, separator?.length ?? 1);
  let [held, pending, starts] = [new Held(where), '', true];
  for await (const text of texts) {
    pending += text;
    for (let at = find(pending, separator); at >= 0; at = find(pending, separator)) {
      yield* pieces(held.take(pending.slice(0, at)), starts, cut);
      pending = pending.slice(at + separator!.length);
      starts = true;
    }
    const end = cut && /[ \n]/.test(pending) ? lastCut(pending, pending.length - margin, 1) : 0;
    if (end > 0 && held.characters + end >= PIECE_CHARACTERS) {
      yield* pieces(held.take(pending.slice(0, end)), starts, true);
      pending = pending.slice(end);
      starts = false;
    }
    if (pending.length <= margin) continue;
    held.add(pending.slice(0, -margin));
    pending = pending.slice(-margin);
  }
  yield* pieces(held.take(pending), starts, cut);
}

const find = (text: string, separator: string | null): number =>
  separator === null ? -1 : text.indexOf(separator);

/** The beginning of a document that nothing has ended or cut yet, in parts: joined once, so that time stays linear. */
class Held {
  readonly #where: string;
  #parts: string[] = [];
  characters = 0;

  constructor(where: string) {
    this.#where = where;
  }

  /** @throws UnfoldError `bad-text` when it has become too long for one string */
  add(part: string): void {
    this.#parts.push(part);
    this.characters += part.length;
    refuseHuge(this.#where, this.characters);
  }

  /** All of it, and what ends it. */
  take(end: string): string {
    this.add(end);
    const whole = this.#parts.join('');
    this.#parts = [];
    this.characters = 0;
    return whole;
  }
}

/** A text as pieces of bounded size; none for an empty text. */
export function* pieces(text: string, starts: boolean, cut: boolean): Generator<TextPiece> {
  let at = 0;
  while (cut && text.length - at > 2 * PIECE_CHARACTERS) {
    const end = lastCut(text, at + PIECE_CHARACTERS, at + 1) || nextCut(text, at + PIECE_CHARACTERS);
    yield { text: text.slice(at, end), starts: starts && at === 0 };
    at = end;
  }
  if (at < text.length) yield { text: text.slice(at), starts: starts && at === 0 };
}

/** The last place at or before `from` and after `least` where a text may be cut, or 0. */
function lastCut(text: string, from: number, least: number): number {
  for (let at = Math.min(from, text.length - 1); at >= Math.max(1, least); at--)
    if (mayCut(text, at)) return at;
  return 0;
}

/** The first place after `from` where a text may be cut, or its end. */
function nextCut(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) if (mayCut(text, at)) return at;
  return text.length;
}

function mayCut(text: string, at: number): boolean {
  const next = text.charCodeAt(at);
  if (next !== 0x20 && next !== 0x0a) return false;
  const before = text.charCodeAt(at - 1);
  return before > 0x20 && (before < 0x7f || !MAY_BE_SPACE.test(text[at - 1]!));
}

function refuseHuge(where: string, characters: number): void {
  if (characters <= MOST_CHARACTERS) return;
  throw new UnfoldError('bad-text', {
    where,
    expected: `documents of up to ${MOST_CHARACTERS} characters, or with spaces where they can be cut`,
    found: `${characters} characters without an end`,
    todo: 'name what parts the documents with --document-separator, or split the file',
  });
}
