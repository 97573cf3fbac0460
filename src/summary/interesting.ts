/**
 * @file Which latents a newcomer should see first. No number measures meaning; this one looks for latents that are
 * specific on both sides. Among latents that fire on 1 in 10,000 to 1 in 50 tokens and in at least eight contexts, they
 * are ranked three ways, and the sum of the ranks decides:
 *   1. strength: how much the latent adds to a row in its best contexts (activation × norm of its decoder row);
 *   2. contrast: its best activations over its mean activation (a latent that is either off or loud);
 *   3. focus: kurtosis of its direct effect on the logits (a few tokens stand out), where there is one.
 * Then, from the top: a latent whose decoder row is close to a chosen one's (cosine above 0.5), or whose best examples
 * fall on the same token as another's, is passed over, and so that not every choice is a single-word detector at most a
 * third may be latents whose examples all fall on one token.
 */
import type { LogitEffect } from './logit-effects.ts';
import type { Example } from './top-examples.ts';

/** What the choice looks at. */
export interface Candidate {
  latent: number;
  density: number;
  mean_activation: number;
  /** Strongest contexts, without repeated texts. */
  examples: Example[];
  /** Token at each example. */
  tokens: number[];
  decoderNorm: number;
  effect?: LogitEffect;
}

/** Densities of latents that are neither accidents nor always on. */
export const DENSITY_RANGE = [1e-4, 0.02] as const;
/** Contexts in which a candidate has fired. */
export const LEAST_CONTEXTS = 8;
const SAME_DIRECTION = 0.5;

/** Sentence for reports: how the latents were chosen. */
export const CHOICE =
  'chosen among latents that fire on 1 in 10,000 to 1 in 50 tokens by the sum of three ranks: strength in their best ' +
  'contexts, contrast between best and mean activation, focus (kurtosis) of their direct effect on the logits; near ' +
  'duplicates (decoder cosine above 0.5, same token) are passed over and at most a third are single-token latents';

/**
 * The `count` most interesting candidates, best first.
 * @param cosine decoder cosine of two latents
 */
export function chooseInteresting(
  candidates: readonly Candidate[],
  count: number,
  cosine: (a: number, b: number) => number,
): Candidate[] {
  const ranked = rankBySum(candidates, [
    (c) => best(c) * c.decoderNorm,
    (c) => best(c) / c.mean_activation,
    (c) => c.effect?.kurtosis ?? 0,
  ]);
  const chosen: Candidate[] = [];
  const singles = Math.max(1, Math.floor(count / 3));
  for (const candidate of ranked) {
    if (chosen.length === count) break;
    if (isSingle(candidate) && chosen.filter(isSingle).length >= singles) continue;
    if (chosen.some((other) => isLike(candidate, other, cosine))) continue;
    chosen.push(candidate);
  }
  return chosen;
}

/** Mean of the three best activations. */
function best({ examples }: Candidate): number {
  const top = examples.slice(0, 3);
  return top.reduce((sum, { activation }) => sum + activation / top.length, 0);
}

function isSingle({ tokens }: Candidate): boolean {
  return new Set(tokens).size === 1;
}

function isLike(a: Candidate, b: Candidate, cosine: (a: number, b: number) => number): boolean {
  return a.tokens[0] === b.tokens[0] || cosine(a.latent, b.latent) > SAME_DIRECTION;
}

function rankBySum(candidates: readonly Candidate[], values: ((c: Candidate) => number)[]): Candidate[] {
  const total = new Map<Candidate, number>(candidates.map((candidate) => [candidate, 0]));
  for (const value of values) {
    const order = [...candidates].sort((a, b) => value(b) - value(a) || a.latent - b.latent);
    order.forEach((candidate, rank) => {
      total.set(candidate, total.get(candidate)! + rank);
    });
  }
  return [...candidates].sort((a, b) => total.get(a)! - total.get(b)! || a.latent - b.latent);
}
