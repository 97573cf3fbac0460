/**
 * @file Encodes by looking words up. GPT-2's pre-tokeniser cuts a text into words, and a word's ids depend on nothing
 * else, so each different word needs the library once; English text then costs an eighth of the library's processor
 * time (16 MB/s on one core). Only for characters whose class (letter, number, space) is the same in every version of
 * Unicode since 5.0; other texts are left to the library.
 */

/** Radford et al. 2019; JavaScript's `\s` lacks U+0085 and has U+FEFF, which {@link COVERED} leaves out. */
const WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\u0085\p{L}\p{N}]+|[\s\u0085]+(?![^\s\u0085])|[\s\u0085]+/gu;
/** Latin, phonetic letters, combining marks, Cyrillic, punctuation, the euro sign. */
const COVERED = /^[\0-\u036f\u0400-\u04ff\u2010-\u2027\u2030-\u205e\u20ac]*$/;
/** Words remembered; some 10 MB. */
const LIMIT = 2 ** 17;
/** Longer words are rarely met again. */
const WORTH_REMEMBERING = 64;

/** Encodes words, each by itself. */
export type EncodeWords = (words: string[]) => Promise<Int32Array[]>;

/** A cache of words in front of a tokeniser. */
export class WordCache {
  readonly #encodeWords: EncodeWords;
  readonly #ids = new Map<string, Int32Array>();

  constructor(encodeWords: EncodeWords) {
    this.#encodeWords = encodeWords;
  }

  /** True if the text may be encoded here. */
  static covers(text: string): boolean {
    return COVERED.test(text);
  }

  /** Ids of texts that are all covered. */
  async encode(texts: string[]): Promise<Int32Array[]> {
    const fresh = new Map<string, Int32Array>();
    const unknown = new Set<string>();
    const parsed = texts.map((text) => this.#parse(text, unknown));
    if (unknown.size > 0) await this.#learn([...unknown], fresh);
    return parsed.map((words) => join(words, fresh));
  }

  /** The text's words: ids where they are known, else the word, which is added to `unknown`. */
  #parse(text: string, unknown: Set<string>): (Int32Array | string)[] {
    const words: (Int32Array | string)[] = text.match(WORDS) ?? [];
    for (let i = 0; i < words.length; i++) {
      const word = words[i] as string;
      const ids = this.#ids.get(word);
      if (ids === undefined) unknown.add(word);
      else words[i] = ids;
    }
    return words;
  }

  async #learn(words: string[], fresh: Map<string, Int32Array>): Promise<void> {
    const encoded = await this.#encodeWords(words);
    if (this.#ids.size + words.length > LIMIT) this.#ids.clear();
    for (const [i, word] of words.entries()) {
      fresh.set(word, encoded[i]!);
      if (word.length <= WORTH_REMEMBERING) this.#ids.set(word, encoded[i]!);
    }
  }
}

function join(words: (Int32Array | string)[], fresh: Map<string, Int32Array>): Int32Array {
  let length = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const ids = typeof word === 'string' ? fresh.get(word)! : word;
    words[i] = ids;
    length += ids.length;
  }
  const joined = new Int32Array(length);
  let at = 0;
  for (const ids of words as Int32Array[]) {
    for (let i = 0; i < ids.length; i++) joined[at++] = ids[i]!;
  }
  return joined;
}
