/** @file Random streams: known answers, saved states, the shape of the distributions. */
import { expect, test } from 'vitest';
import { Random } from '../src/random.ts';

test('the generator gives the published outputs of xoshiro128** from the state 1, 2, 3, 4', () => {
  const random = Random.from([1, 2, 3, 4]);
  const outputs = Array.from({ length: 10 }, () => random.uint32());
  expect(outputs).toEqual([
    11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
  ]);
});

test('a stream goes on from its saved state, and labels give streams that differ', () => {
  const random = Random.of(42, 'shuffle', 3);
  random.uint32();
  const resumed = Random.from(random.state);
  const ahead = [random.uint32(), random.uint32()];
  expect([resumed.uint32(), resumed.uint32()]).toEqual(ahead);
  expect(Random.of(42, 'shuffle', 4).uint32()).not.toBe(Random.of(42, 'shuffle', 3).uint32());
});

test('a permutation holds every index once', () => {
  const sorted = [...Random.of(1).permutation(1000)].sort((a, b) => a - b);
  expect(sorted).toEqual(Array.from({ length: 1000 }, (_, i) => i));
});

test('below(3) is uniform: chi-square over 30,000 draws under the 0.999 quantile of two degrees', () => {
  const random = Random.of(7);
  const counts = [0, 0, 0];
  for (let i = 0; i < 30_000; i++) counts[random.below(3)]!++;
  const chiSquare = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
  expect(chiSquare).toBeLessThan(13.8);
});

test('normal deviates have mean 0 and variance 1 within five standard errors', () => {
  const random = Random.of(8);
  const draws = Array.from({ length: 40_000 }, () => random.normal());
  const mean = draws.reduce((a, b) => a + b) / draws.length;
  const variance = draws.reduce((sum, x) => sum + x * x, 0) / draws.length;
  expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(draws.length));
  expect(Math.abs(variance - 1)).toBeLessThan(5 * Math.sqrt(2 / draws.length));
});
