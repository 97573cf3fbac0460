import { describe, expect, it } from 'vitest';
import { Random } from '../../src/random.ts';
import { TopExamples } from '../../src/summary/top-examples.ts';

describe('the strongest contexts of a latent', () => {
  it('count a context once, at its strongest position', () => {
    const top = new TopExamples(2, 2);
    top.offer(1, 3, 0, 10);
    top.offer(1, 5, 0, 11);
    top.offer(1, 4, 0, 12);
    top.offer(1, 2, 1, 7);
    expect(top.of(1)).toEqual([
      { activation: 5, context: 0, position: 11 },
      { activation: 2, context: 1, position: 7 },
    ]);
    expect(top.of(0)).toEqual([]);
  });

  it('move up when they get stronger, without losing the others', () => {
    const top = new TopExamples(1, 3);
    for (const [activation, context] of [
      [1, 0],
      [2, 1],
      [3, 2],
      [9, 0],
    ])
      top.offer(0, activation!, context!, 0);
    expect(top.of(0).map(({ context }) => context)).toEqual([0, 2, 1]);
  });

  it('are those of a full sort', () => {
    const random = Random.of(7, 'offers');
    const top = new TopExamples(1, 5);
    const best = new Map<number, number>();
    for (let context = 0; context < 60; context++) {
      for (let position = 0; position < 4; position++) {
        const activation = Math.fround(random.float() + 0.01);
        top.offer(0, activation, context, position);
        best.set(context, Math.max(activation, best.get(context) ?? 0));
      }
    }
    const sorted = [...best].sort((a, b) => b[1] - a[1]).slice(0, 5);
    expect(top.of(0).map(({ context, activation }) => [context, activation])).toEqual(sorted);
  });
});
