/** @file What the cases of the coder kernels share: shapes, comparisons, finite differences. */
import { expect } from 'vitest';
import type { ScatterTerm } from '../../src/tensor/kernels/scatter-terms.ts';
import * as tf from '../../src/tensor/tf.ts';
import * as reference from './coder-reference.ts';

/** Sums of up to a hundred products of numbers below 1 in float32. */
const FLOAT = 2e-5;
/** Central differences of step 1e-2 in float32: rounding of the loss over the step. */
const DIFFERENCE = 2e-3;

export const shapes = [
  { B: 1, d: 1, F: 1, k: 1 },
  { B: 1, d: 7, F: 300, k: 5 },
  { B: 3, d: 16, F: 64, k: 64 },
  { B: 37, d: 50, F: 700, k: 9 },
  { B: 5, d: 33, F: 1100, k: 400 },
];

export const flat = (m: reference.Matrix): number[] => m.flat();
export const numbersOf = (t: tf.Tensor): number[] => [...t.dataSync()];

export function close(found: tf.Tensor, expected: number[], tolerance = FLOAT): void {
  const values = numbersOf(found);
  expect(values.length).toBe(expected.length);
  values.forEach((value, i) => {
    const bound = tolerance * (1 + Math.abs(expected[i]!));
    if (!(Math.abs(value - expected[i]!) <= bound)) expect(value).toBeCloseTo(expected[i]!, 5);
  });
}

export const variable = (m: reference.Matrix): tf.Variable => tf.tidy(() => tf.variable(tf.tensor2d(m)));
export const int = (m: reference.Matrix): tf.Tensor2D => tf.tensor2d(m, undefined, 'int32');

export const tensorTerm = (t: reference.Term): ScatterTerm => ({
  indices: int(t.indices),
  coefficients: tf.tensor2d(t.coefficients),
  rows: tf.tensor2d(t.rows),
});

export function randomTerms(F: number, d: number, seed = 0): reference.Term[] {
  const next = reference.numbers(F * 31 + d + seed);
  const term = (B: number, k: number): reference.Term => ({
    indices: reference.integers(B, k, F, next),
    coefficients: reference.matrix(B, k, () => (next() > 0.8 ? 0 : next())),
    rows: reference.matrix(B, d, next),
  });
  return [term(9, 4), term(4, 11)];
}

/** d/dt of sum(dy · f(x + t e_i)) for a few entries of x, against `gradient`. */
export function differences(
  f: (x: tf.Tensor) => tf.Tensor,
  x: tf.Tensor,
  dy: tf.Tensor,
  gradient: tf.Tensor,
): void {
  const at = numbersOf(x);
  const analytic = numbersOf(gradient);
  const loss = (values: number[]): number =>
    tf.tidy(() => {
      const weighted = tf.mul(f(tf.tensor(values, x.shape)), dy);
      return numbersOf(weighted).reduce((sum, value) => sum + value, 0);
    });
  const step = 1e-2;
  for (let i = 0; i < at.length; i += Math.max(1, Math.floor(at.length / 12))) {
    const moved = (by: number): number[] => at.map((value, j) => (j === i ? value + by : value));
    const numeric = (loss(moved(step)) - loss(moved(-step))) / (2 * step);
    expect(Math.abs(numeric - analytic[i]!)).toBeLessThan(DIFFERENCE * (1 + Math.abs(numeric)));
  }
}
