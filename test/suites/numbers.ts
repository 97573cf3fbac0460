/** @file Comparing lists of floats, NaN and infinities included. */
import { expect } from 'vitest';

/** Every element within `tolerance` of its like, relative to the larger of 1 and its size. */
export function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(found.length).toBe(expected.length);
  let worst = -1;
  let where = -1;
  for (let i = 0; i < expected.length; i++) {
    const [x, y] = [found[i]!, expected[i]!];
    if (Object.is(x, y) || x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const error = Math.abs(x - y) / Math.max(1, Math.abs(y));
    const size = Number.isFinite(error) ? error : Number.POSITIVE_INFINITY;
    if (size > worst) [worst, where] = [size, i];
  }
  if (worst <= tolerance) return;
  expect.fail(
    `element ${where}: ${found[where]} instead of ${expected[where]} (off by ${worst}, allowed ${tolerance})`,
  );
}

/** A seeded stream of numbers between -1 and 1. */
export function noise(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/** `length` numbers between -size and size. */
export function noisy(length: number, seed: number, size = 1): Float32Array {
  const next = noise(seed);
  return Float32Array.from({ length }, () => next() * size);
}
