/**
 * @file Which latents a newcomer should see first. No number measures meaning; this one looks for latents that are clear
 * and say more than one word. Among latents that fire on 1 in 10,000 to 1 in 50 tokens, in at least eight contexts, and
 * on at least three different words in their strongest ones, the score is the product of
 *   1. strength: mean best activation on the three best words × norm of the decoder row (what the latent adds to a row);
 *   2. contrast: those activations over the latent's mean activation (it is either off or loud);
 *   3. kinship: how alike the model's embeddings of those words are (kinship.ts).
 * From the top, a latent is passed over if its decoder row is close to a chosen one's (cosine above 0.5) or it fires on a
 * word that a chosen one fires on. Latents of a single word exist in plenty and are left out by the criterion, not judged.
 */
import type { Example } from './top-examples.ts';

/** What the choice looks at. */
export interface Candidate {
  latent: number;
  density: number;
  mean_activation: number;
  /** Strongest contexts, without repeated texts. */
  examples: Example[];
  /** Word at each example: its text without white space, in lower case. */
  words: string[];
  /** Of the words' tokens, 0 to 1. */
  kinship: number;
  decoderNorm: number;
}

/** Densities of latents that are neither accidents nor always on. */
export const DENSITY_RANGE = [1e-4, 0.02] as const;
/** Contexts in which a candidate has fired, and words among its strongest ones. */
export const LEAST_CONTEXTS = 8;
export const LEAST_WORDS = 3;
const SAME_DIRECTION = 0.5;

/** Sentence for reports: how the latents were chosen. */
export const CHOICE =
  'chosen among latents that fire on 1 in 10,000 to 1 in 50 tokens and on three words or more, by strength on their three ' +
  'best words × contrast to their mean activation × kinship of the words (cosine of their embeddings); near duplicates are ' +
  'passed over; one example per word comes first';

/**
 * The `count` most interesting candidates, best first.
 * @param cosine decoder cosine of two latents
 */
export function chooseInteresting(
  candidates: readonly Candidate[],
  count: number,
  cosine: (a: number, b: number) => number,
): Candidate[] {
  const ranked = candidates
    .map((candidate) => ({ candidate, score: scoreOf(candidate) }))
    .sort((a, b) => b.score - a.score || a.candidate.latent - b.candidate.latent);
  const chosen: Candidate[] = [];
  for (const { candidate } of ranked) {
    if (chosen.length === count) break;
    if (new Set(candidate.words).size < LEAST_WORDS) continue;
    if (!chosen.some((other) => isLike(candidate, other, cosine))) chosen.push(candidate);
  }
  return chosen;
}

/** Examples in the order in which they are shown: the strongest of each word, then the others. */
export function oneOfEachWord({ examples, words }: Candidate): Example[] {
  const first = examples.filter((_, i) => words.indexOf(words[i]!) === i);
  return [...first, ...examples.filter((example) => !first.includes(example))];
}

function scoreOf(candidate: Candidate): number {
  const { mean_activation, decoderNorm, kinship } = candidate;
  const top = oneOfEachWord(candidate).slice(0, LEAST_WORDS);
  const best = top.reduce((sum, { activation }) => sum + activation / top.length, 0);
  return best * decoderNorm * (best / mean_activation) * Math.max(0, kinship);
}

function isLike(a: Candidate, b: Candidate, cosine: (a: number, b: number) => number): boolean {
  return a.words.some((word) => b.words.includes(word)) || cosine(a.latent, b.latent) > SAME_DIRECTION;
}
