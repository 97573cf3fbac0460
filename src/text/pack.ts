/**
 * @file Documents of token ids into contexts of one length, token for token as SAELens does it
 * (`tokenization_and_batching.concat_and_batch_sequences`): documents follow one another, cut where a context ends;
 * a context begins with BOS; documents that share a context are parted by a separator; no such token is doubled
 * where it is there already. What does not fill a context at the very end is left out. (As of SAELens 6.54; older versions
 * lose the beginning of a sequence that falls on a border, and take an id of 0 for "none" without concatenation.)
 */

/** Token ids of the packing; undefined means "do not add". */
export interface PackOptions {
  context_size: number;
  beginBatch?: number | undefined;
  beginSequence?: number | undefined;
  separator?: number | undefined;
  disableConcat?: boolean;
}

/** Takes the ids of documents in order, piece by piece, and hands on full contexts. */
export interface Packer {
  /** The next ids; `startsDocument` is true for the first piece of a document. Empty pieces are allowed. */
  push(ids: Int32Array, startsDocument: boolean): void;
  /** After the last piece. */
  end(): void;
}

/** A packer that gives every full context to `emit`; the array is reused, so `emit` copies what it keeps. */
export function packer(options: PackOptions, emit: (context: Int32Array) => void): Packer {
  return options.disableConcat ? new SinglePacker(options, emit) : new ConcatPacker(options, emit);
}

class ConcatPacker implements Packer {
  readonly #options: PackOptions;
  readonly #emit: (context: Int32Array) => void;
  readonly #context: Int32Array;
  #filled = 0;
  #atStart = false;

  constructor(options: PackOptions, emit: (context: Int32Array) => void) {
    this.#options = options;
    this.#emit = emit;
    this.#context = new Int32Array(options.context_size);
  }

  push(ids: Int32Array, startsDocument: boolean): void {
    if (startsDocument) this.#atStart = true;
    let offset = 0;
    while (offset < ids.length) {
      this.#open(ids[offset]!);
      const count = Math.min(this.#context.length - this.#filled, ids.length - offset);
      this.#context.set(ids.subarray(offset, offset + count), this.#filled);
      this.#filled += count;
      offset += count;
      if (this.#filled < this.#context.length) continue;
      this.#emit(this.#context);
      this.#filled = 0;
    }
  }

  end(): void {}

  /**
   * Puts what belongs in front of `first`: BOS or separator, then the beginning of the sequence. What does not fit is
   * cut; the beginning then goes into the next context.
   */
  #open(first: number): void {
    const { beginBatch, beginSequence, separator } = this.#options;
    const prefix: number[] = [];
    const need = (token: number | undefined) => token !== undefined && token !== (prefix[0] ?? first);
    const begins = this.#atStart && need(beginSequence);
    if (begins) prefix.unshift(beginSequence!);
    if (this.#filled === 0 && need(beginBatch)) prefix.unshift(beginBatch!);
    if (this.#filled > 0 && this.#atStart && need(separator)) prefix.unshift(separator!);
    const room = this.#context.length - this.#filled;
    this.#atStart = begins && prefix.length > room;
    for (const token of prefix.slice(0, room)) this.#context[this.#filled++] = token;
  }
}

class SinglePacker implements Packer {
  readonly #options: PackOptions;
  readonly #emit: (context: Int32Array) => void;
  readonly #document: Int32Array;
  #filled = 0;

  constructor(options: PackOptions, emit: (context: Int32Array) => void) {
    this.#options = options;
    this.#emit = emit;
    this.#document = new Int32Array(options.context_size);
  }

  push(ids: Int32Array, startsDocument: boolean): void {
    if (startsDocument) this.end();
    const count = Math.min(ids.length, this.#document.length - this.#filled);
    this.#document.set(ids.subarray(0, count), this.#filled);
    this.#filled += count;
  }

  end(): void {
    const { context_size, beginSequence, beginBatch } = this.#options;
    const first = beginSequence ?? beginBatch;
    if (this.#filled === 0) return;
    if (first !== undefined && this.#filled >= context_size - 1 && this.#document[0] !== first) {
      this.#emit(Int32Array.of(first, ...this.#document.subarray(0, context_size - 1)));
    } else if (this.#filled === context_size) {
      this.#emit(this.#document);
    }
    this.#filled = 0;
  }
}
