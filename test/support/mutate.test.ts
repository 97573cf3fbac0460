import { expect, test } from 'vitest';
import { Random } from '../../src/random.ts';
import { describeMutation, MUTATIONS, mutate } from './mutate.ts';

const bytes = Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 37) % 256));

test('a damage is had again from its seed, and every kind damages', () => {
  for (const kind of MUTATIONS) {
    const [once, twice] = [1, 2].map(() => mutate(bytes, Random.of(7, kind), kind));
    expect(once).toEqual(twice);
    expect(once!.bytes.equals(bytes), describeMutation(once!.mutation)).toBe(false);
  }
});

test('what is not concerned stays', () => {
  const { bytes: cut, mutation } = mutate(bytes, Random.of(3, 'delete'), 'delete');
  const { at, length } = mutation;
  expect(cut).toEqual(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]));
});

test('a number in text becomes another number, in its place', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { bytes: text } = mutate(Buffer.from('rows of a shard: 1234567890'), Random.of(seed), 'huge');
    expect(text.toString()).toMatch(
      /^rows of a shard: (1?2?3?4?5?6?7?8?9?)(2147483648|9007199254740993|1e308|-1|0\.5)$/,
    );
  }
});
