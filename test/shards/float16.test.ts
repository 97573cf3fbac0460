import { expect, test } from 'vitest';
import { fromHalf, fromHalfPlain, toHalf, toHalfPlain } from '../../src/shards/float16.ts';

// Values and bits from IEEE 754 and from numpy.float16: [float32, half's bits].
const known: [number, number][] = [
  [0, 0],
  [-0, 0x8000],
  [1, 0x3c00],
  [-2, 0xc000],
  [65504, 0x7bff],
  [65519.996, 0x7bff],
  [65520, 0x7c00],
  [Number.NEGATIVE_INFINITY, 0xfc00],
  [2 ** -14, 0x0400],
  [2 ** -24, 0x0001],
  [2 ** -25, 0x0000],
  [2 ** -25 * 1.0001, 0x0001],
  [2 ** -24 * 1.5, 0x0002],
  [1 + 2 ** -11, 0x3c00],
  [1 + 3 * 2 ** -11, 0x3c02],
  [0.1, 0x2e66],
];

test('float32 rounds to the half that IEEE 754 names, ties to even, subnormals and infinity included', () => {
  const values = Float32Array.from(known.map(([value]) => value));
  expect([...toHalf(values)]).toEqual(known.map(([, bits]) => bits));
});

test('every finite half survives widening and rounding', () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00);
  expect(toHalf(fromHalf(halves))).toEqual(halves);
});

test('NaN stays NaN', () => {
  expect(fromHalf(toHalf(Float32Array.of(Number.NaN)))[0]).toBeNaN();
});

test('whatever converts gives the bits of the plain version', () => {
  const bits = Uint32Array.from({ length: 100_003 }, (_, i) => Math.imul(i, 2654435761) >>> 0);
  const values = new Float32Array(bits.buffer).filter((value) => !Number.isNaN(value));
  const plain = new Uint16Array(values.length);
  toHalfPlain(values, plain);
  expect(toHalf(values)).toEqual(plain);
  const widened = new Float32Array(plain.length);
  fromHalfPlain(plain, widened);
  expect(fromHalf(plain)).toEqual(widened);
});
