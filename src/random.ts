/**
 * @file Seeded random numbers whose whole state is four integers, so that a run can stop anywhere and go on with the
 * same stream. xoshiro128** (Blackman and Vigna, 2018), seeded from SHA-256 of the seed and a list of labels: every
 * purpose has its own stream, and adding one never shifts another. Not for cryptography.
 */
import { createHash } from 'node:crypto';

/** Four unsigned 32-bit integers. */
export type RandomState = readonly [number, number, number, number];

/** A stream of random numbers. */
export class Random {
  #s: Uint32Array;
  #spare: number | undefined;

  private constructor(state: RandomState) {
    this.#s = Uint32Array.from(state);
  }

  /** The stream of `seed` for one purpose: `Random.of(42, 'init', 'W_dec')`. */
  static of(seed: number, ...labels: (string | number)[]): Random {
    const digest = createHash('sha256')
      .update(JSON.stringify([seed, ...labels]))
      .digest();
    return new Random([0, 4, 8, 12].map((at) => digest.readUInt32LE(at)) as unknown as RandomState);
  }

  /** Goes on from a saved state. */
  static from(state: RandomState): Random {
    return new Random(state);
  }

  /** The state, to be saved. A normal deviate held back by {@link normal} is dropped. */
  get state(): RandomState {
    this.#spare = undefined;
    return [this.#s[0]!, this.#s[1]!, this.#s[2]!, this.#s[3]!];
  }

  /** Uniform integer in [0, 2^32). */
  uint32(): number {
    const s = this.#s;
    const result = Math.imul(rotateLeft(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2] = s[2]! ^ s[0]!;
    s[3] = s[3]! ^ s[1]!;
    s[1] = s[1]! ^ s[2]!;
    s[0] = s[0]! ^ s[3]!;
    s[2] = s[2]! ^ t;
    s[3] = rotateLeft(s[3]!, 11);
    return result;
  }

  /** Uniform in [0, 1) with 53 random bits. */
  float(): number {
    return (this.uint32() * 2 ** 21 + (this.uint32() >>> 11)) / 2 ** 53;
  }

  /** Uniform integer in [0, bound), bound <= 2^32, without modulo bias (rejection). */
  below(bound: number): number {
    const limit = 2 ** 32 - (2 ** 32 % bound);
    let draw = this.uint32();
    while (draw >= limit) draw = this.uint32();
    return draw % bound;
  }

  /** Standard normal (Box and Muller's polar form). */
  normal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    for (;;) {
      const u = 2 * this.float() - 1;
      const v = 2 * this.float() - 1;
      const square = u * u + v * v;
      if (square === 0 || square >= 1) continue;
      const factor = Math.sqrt((-2 * Math.log(square)) / square);
      this.#spare = v * factor;
      return u * factor;
    }
  }

  /** Fisher-Yates in place; returns its argument. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }

  /** A uniform permutation of 0 … length - 1. */
  permutation(length: number): Uint32Array {
    return this.shuffle(Uint32Array.from({ length }, (_, i) => i));
  }
}

function rotateLeft(x: number, by: number): number {
  return ((x << by) | (x >>> (32 - by))) >>> 0;
}
