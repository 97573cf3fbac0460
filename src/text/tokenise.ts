/**
 * @file A text's token ids, for looking at: from a string, a file of any size or a stream. Packing is contexts.ts's.
 */
import { type StageContext, silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { sizeOfRegular } from '../read.ts';
import { encodePieces } from './encode.ts';
import { decodeText, openText } from './formats/bytes.ts';
import { cutText } from './formats/plain.ts';

/** Token ids of a text, without BOS. */
export interface TokenisedText {
  ids: Int32Array;
  /** Code units of the text (JavaScript's length). */
  characters: number;
}

/** How to tokenise. */
export interface TokeniseOptions {
  /** True: `<|endoftext|>` in the text is the special token. */
  special?: boolean;
}

/** Tokenises a string. */
export async function tokeniseText(
  text: string,
  tokenizer: Tokenizer,
  { special = false }: TokeniseOptions = {},
): Promise<TokenisedText> {
  return { ids: await tokenizer.encode(text, { special }), characters: text.length };
}

/**
 * Tokenises a plain text file (`.gz` is looked through) as one document; memory is that of the ids.
 * @throws UnfoldError `missing-file`, `empty-text`, `bad-text`
 */
export async function tokeniseFile(
  path: string,
  tokenizer: Tokenizer,
  options: TokeniseOptions = {},
  context: StageContext = silent(),
): Promise<TokenisedText> {
  const bytes = await sizeOfRegular(path, {
    expected: 'a text file',
    todo: 'check the path',
    kind: 'missing-file',
  });
  const bar = context.bar('tokenise', bytes, 'bytes');
  let done = 0;
  const advance = (more: number) => {
    done += more;
    bar.update(done);
  };
  const found = await tokeniseTexts(
    openText({ path, bytes }, { advance, signal: context.signal }),
    path,
    tokenizer,
    options,
  );
  bar.finish();
  if (found.characters > 0) return found;
  throw new UnfoldError('empty-text', {
    where: path,
    expected: 'some text',
    found: 'an empty file',
    todo: 'check the path',
  });
}

/** Tokenises a stream of UTF-8 bytes (stdin) as one document. @throws UnfoldError `bad-text`; `where` names it. */
export async function tokeniseStream(
  bytes: AsyncIterable<Uint8Array>,
  where: string,
  tokenizer: Tokenizer,
  options: TokeniseOptions = {},
  context: StageContext = silent(),
): Promise<TokenisedText> {
  return tokeniseTexts(decodeText(bytes, where, context.signal), where, tokenizer, options);
}

async function tokeniseTexts(
  texts: AsyncIterable<string>,
  where: string,
  tokenizer: Tokenizer,
  { special = false }: TokeniseOptions,
): Promise<TokenisedText> {
  const pieces = cutText(texts, where, { document_separator: null, cut: tokenizer.cutsBeforeSpace });
  const parts: Int32Array[] = [];
  let length = 0;
  let characters = 0;
  for await (const batch of encodePieces(pieces, tokenizer, { special })) {
    for (const piece of batch) {
      parts.push(piece.ids);
      length += piece.ids.length;
      characters += piece.characters;
    }
  }
  const ids = new Int32Array(length);
  let at = 0;
  for (const part of parts) {
    ids.set(part, at);
    at += part.length;
  }
  return { ids, characters };
}
