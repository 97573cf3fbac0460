import { describe, expect, it } from 'vitest';
import { type Candidate, chooseInteresting, oneOfEachWord } from '../../src/summary/interesting.ts';

function candidate(latent: number, changes: Partial<Candidate> = {}): Candidate {
  return {
    latent,
    density: 0.001,
    mean_activation: 1,
    examples: [4, 4, 4].map((activation, context) => ({ activation, context, position: 3 })),
    words: [`a${latent}`, `b${latent}`, `c${latent}`],
    kinship: 0.3,
    decoderNorm: 1,
    ...changes,
  };
}

const unlike = () => 0;

describe('the choice of interesting latents', () => {
  it('prefers strength, contrast and related words', () => {
    const plain = candidate(1);
    for (const change of [{ decoderNorm: 2 }, { mean_activation: 0.5 }, { kinship: 0.6 }]) {
      const better = candidate(2, change);
      expect(chooseInteresting([plain, better], 1, unlike)).toEqual([better]);
    }
  });

  it('passes over near duplicates and latents of the same word', () => {
    const [a, b, c] = [candidate(1, { decoderNorm: 3 }), candidate(2, { decoderNorm: 2 }), candidate(3)];
    expect(chooseInteresting([a, b, c], 3, (x, y) => (x + y === 3 ? 0.9 : 0))).toEqual([a, c]);
    const shared = candidate(4, { words: ['a1', 'x', 'y'] });
    expect(chooseInteresting([a, shared], 3, unlike)).toEqual([a]);
  });

  it('leaves out latents of one or two words', () => {
    const single = candidate(1, { words: ['he', 'he', 'she'], decoderNorm: 9 });
    expect(chooseInteresting([single, candidate(2)], 3, unlike).map(({ latent }) => latent)).toEqual([2]);
  });

  it('shows the strongest example of each word first', () => {
    const words = ['boy', 'boy', 'girl', 'boy', 'child'];
    const examples = words.map((_, context) => ({ activation: 9 - context, context, position: 0 }));
    const shown = oneOfEachWord(candidate(1, { words, examples }));
    expect(shown.map(({ context }) => context)).toEqual([0, 2, 4, 1, 3]);
  });
});
