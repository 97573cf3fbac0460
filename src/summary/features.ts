/**
 * @file The most interesting latents of a coder with what shows their meaning: passages, promoted tokens, density.
 */
import type { Coder } from '../coders/coder.ts';
import type { TokenRows } from '../evaluate/token-rows.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import type * as tf from '../tensor/tf.ts';
import {
  type Candidate,
  chooseInteresting,
  DENSITY_RANGE,
  LEAST_CONTEXTS,
  oneOfEachWord,
} from './interesting.ts';
import { type Kinship, kinshipIn } from './kinship.ts';
import { logitEffects, type Unembedding } from './logit-effects.ts';
import { distinctExamples, type Passage, passageOf } from './passage.ts';
import type { Scan } from './scan.ts';

/** One latent as the report shows it. */
export interface Feature {
  latent: number;
  /** Share of tokens on which it fires. */
  density: number;
  max_activation: number;
  mean_activation: number;
  /** Likeness of the words on which it fires most strongly (kinship.ts). */
  kinship: number;
  /** Tokens whose logits it raises most, directly; absent where the coder does not write to the residual stream. */
  promoted_tokens?: string[];
  /** Kurtosis of those effects over the vocabulary. */
  logit_kurtosis?: number;
  examples: Passage[];
}

/** What is needed besides the scan. */
export interface FeatureOptions {
  coder: Coder;
  tokens: TokenRows;
  tokenizer: Tokenizer;
  /** The model's token embedding, [d_vocab, d_model]. */
  W_E: tf.Tensor2D;
  /** Absent: no promoted tokens. */
  unembedding?: Unembedding;
  /** Latents and examples of each. */
  count: number;
  examples: number;
}

/** Tokens named as promoted. */
const PROMOTED = 6;

/** Chooses and describes; see interesting.ts for the criterion. */
export function interestingFeatures(scan: Scan, options: FeatureOptions): Feature[] {
  const { coder, unembedding, count } = options;
  const W_dec = coder.weights.W_dec as tf.Tensor2D;
  const decoder = decoderOf(W_dec);
  const chosen = chooseInteresting(candidatesOf(scan, options, decoder.norm), count, decoder.cosine);
  const features = chosen.map((candidate) => describe(candidate, scan, options));
  if (!unembedding || features.length === 0 || W_dec.shape[1] !== unembedding.W_U.shape[1]) return features;
  const effects = logitEffects(
    W_dec,
    chosen.map(({ latent }) => latent),
    unembedding,
    PROMOTED,
  );
  return features.map((feature, i) => ({
    ...feature,
    promoted_tokens: options.tokenizer.visiblePieces(effects[i]!.promoted.map(({ token }) => token)),
    logit_kurtosis: effects[i]!.kurtosis,
  }));
}

function candidatesOf(scan: Scan, options: FeatureOptions, norm: (latent: number) => number): Candidate[] {
  const { feature_density, consistent_activation_heuristic, mean_activation } = scan.latents;
  const kinship = kinshipIn(options.W_E);
  const found: Candidate[] = [];
  feature_density.forEach((density, latent) => {
    if (density < DENSITY_RANGE[0] || density > DENSITY_RANGE[1]) return;
    const contexts = (density * scan.rows) / consistent_activation_heuristic[latent]!;
    if (contexts < LEAST_CONTEXTS - 0.5) return;
    const seen = wordsOf(scan, latent, options, kinship);
    if (seen.examples.length < options.examples) return;
    found.push({
      latent,
      density,
      mean_activation: mean_activation[latent]!,
      decoderNorm: norm(latent),
      ...seen,
    });
  });
  return found;
}

function wordsOf(scan: Scan, latent: number, { tokens, tokenizer }: FeatureOptions, kinship: Kinship) {
  const examples = distinctExamples(scan.examples.of(latent), (context) => tokens.tokens(context));
  const ids = examples.map(({ context, position }) => tokens.tokens(context)[position]!);
  const words = tokenizer.visiblePieces(ids).map((piece) => piece.trim().toLowerCase());
  const firstOfEach = ids.filter((_, i) => words.indexOf(words[i]!) === i);
  return { examples, words, kinship: kinship(firstOfEach) };
}

function describe(
  candidate: Candidate,
  { latents }: Scan,
  { tokens, tokenizer, examples }: FeatureOptions,
): Feature {
  const { latent, density, mean_activation, kinship } = candidate;
  return {
    latent,
    density,
    max_activation: latents.max_activation[latent]!,
    mean_activation,
    kinship,
    examples: oneOfEachWord(candidate)
      .slice(0, examples)
      .map((example) => passageOf(example, tokens.tokens(example.context), tokenizer)),
  };
}

/** Norms and cosines of decoder rows [d_sae, d_out]. */
function decoderOf(W_dec: tf.Tensor2D) {
  const values = W_dec.dataSync() as Float32Array;
  const width = W_dec.shape[1];
  const dot = (a: number, b: number) => {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += values[a * width + i]! * values[b * width + i]!;
    return sum;
  };
  const norm = (latent: number) => Math.sqrt(dot(latent, latent));
  return { norm, cosine: (a: number, b: number) => dot(a, b) / (norm(a) * norm(b)) };
}
