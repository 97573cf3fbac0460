/**
 * @file Pieces of documents into ids, in order, while the tokeniser's threads work on the next ones: pieces are
 * gathered into batches, a few batches are in flight, and memory is bounded by them.
 */
import type { Tokenizer } from '../model/tokenizer.ts';
import type { Piece } from './formats/format.ts';

/** Characters of a batch: enough to keep all threads busy, little enough to leave the main thread every 10 ms. */
const BATCH_CHARACTERS = 128 * 1024;
const IN_FLIGHT = 3;

/** A piece of a document as ids. */
export interface IdsPiece {
  ids: Int32Array;
  starts: boolean;
  /** Characters of the text it came from; 0 for ids that were made elsewhere. */
  characters: number;
}

/** Batches of encoded pieces in the order of the input. */
export async function* encodePieces(
  pieces: AsyncIterable<Piece>,
  tokenizer: Tokenizer,
  options: { special: boolean },
): AsyncGenerator<IdsPiece[]> {
  const flying: Promise<IdsPiece[]>[] = [];
  try {
    for await (const batch of batches(pieces)) {
      const encoded = encodeBatch(batch, tokenizer, options.special);
      // Awaited in order below; until then a failure must not count as unhandled.
      encoded.catch(() => {});
      flying.push(encoded);
      if (flying.length >= IN_FLIGHT) yield await flying.shift()!;
    }
    for (const encoded of flying) yield await encoded;
  } finally {
    await Promise.allSettled(flying);
  }
}

async function* batches(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece[]> {
  let batch: Piece[] = [];
  let size = 0;
  for await (const piece of pieces) {
    batch.push(piece);
    size += 'text' in piece ? piece.text.length : piece.ids.length;
    if (size < BATCH_CHARACTERS) continue;
    yield batch;
    batch = [];
    size = 0;
  }
  if (batch.length > 0) yield batch;
}

async function encodeBatch(batch: Piece[], tokenizer: Tokenizer, special: boolean): Promise<IdsPiece[]> {
  const texts = batch.flatMap((piece) => ('text' in piece ? [piece.text] : []));
  const encoded = texts.length > 0 ? await tokenizer.encodeBatch(texts, { special }) : [];
  let next = 0;
  return batch.map((piece) => {
    if ('ids' in piece) return { ids: piece.ids, starts: piece.starts, characters: 0 };
    return { ids: encoded[next++]!, starts: piece.starts, characters: piece.text.length };
  });
}
