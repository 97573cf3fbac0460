import { describe, expect, it } from 'vitest';
import { type Candidate, chooseInteresting } from '../../src/summary/interesting.ts';

function candidate(latent: number, changes: Partial<Candidate> = {}): Candidate {
  return {
    latent,
    density: 0.001,
    mean_activation: 1,
    examples: [4, 4, 4].map((activation, context) => ({ activation, context, position: 3 })),
    tokens: [latent * 10, latent * 10 + 1, latent * 10 + 2],
    decoderNorm: 1,
    effect: { latent, promoted: [], kurtosis: 5 },
    ...changes,
  };
}

const unlike = () => 0;

describe('the choice of interesting latents', () => {
  it('prefers strength, contrast and focus', () => {
    const loud = candidate(1, { decoderNorm: 3 });
    const steady = candidate(2, { mean_activation: 3.9 });
    const vague = candidate(3, { effect: { latent: 3, promoted: [], kurtosis: 3 } });
    expect(chooseInteresting([vague, steady, loud], 1, unlike)).toEqual([loud]);
  });

  it('passes over near duplicates and latents of the same token', () => {
    const [a, b, c] = [candidate(1, { decoderNorm: 3 }), candidate(2, { decoderNorm: 2 }), candidate(3)];
    expect(chooseInteresting([a, b, c], 3, (x, y) => (x + y === 3 ? 0.9 : 0))).toEqual([a, c]);
    const same = candidate(4, { tokens: a.tokens });
    expect(chooseInteresting([a, same], 3, unlike)).toEqual([a]);
  });

  it('takes single-token latents for a third of the places at most', () => {
    const singles = [1, 2, 3, 4].map((latent) =>
      candidate(latent, { tokens: [latent, latent, latent], decoderNorm: 5 }),
    );
    const others = [5, 6].map((latent) => candidate(latent));
    const chosen = chooseInteresting([...singles, ...others], 3, unlike).map(({ latent }) => latent);
    expect(chosen).toEqual([1, 5, 6]);
  });
});
