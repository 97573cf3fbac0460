/**
 * @file The most interesting latents of a coder with what shows their meaning: passages, promoted tokens, density.
 */
import type { Coder } from '../coders/coder.ts';
import type { TokenRows } from '../evaluate/token-rows.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import type * as tf from '../tensor/tf.ts';
import { type Candidate, chooseInteresting, DENSITY_RANGE, LEAST_CONTEXTS } from './interesting.ts';
import { type LogitEffect, logitEffects, type Unembedding } from './logit-effects.ts';
import { distinctExamples, type Passage, passageOf } from './passage.ts';
import type { Scan } from './scan.ts';

/** One latent as the report shows it. */
export interface Feature {
  latent: number;
  /** Share of tokens on which it fires. */
  density: number;
  max_activation: number;
  mean_activation: number;
  /** Tokens whose logits it raises most, directly; absent where the coder does not write to the residual stream. */
  promoted_tokens?: string[];
  logit_kurtosis?: number;
  examples: Passage[];
}

/** What is needed besides the scan. */
export interface FeatureOptions {
  coder: Coder;
  tokens: TokenRows;
  tokenizer: Tokenizer;
  /** Absent: no promoted tokens. */
  unembedding?: Unembedding;
  /** Latents and examples of each. */
  count: number;
  examples: number;
}

/** Latents whose effect on the logits is computed. */
const MOST_CANDIDATES = 1024;
const PROMOTED = 6;

/** Chooses and describes; see interesting.ts for the criterion. */
export function interestingFeatures(scan: Scan, options: FeatureOptions): Feature[] {
  const { coder, unembedding } = options;
  const W_dec = coder.weights.W_dec as tf.Tensor2D;
  const decoder = decoderOf(W_dec);
  const candidates = candidatesOf(scan, options, decoder.norm);
  if (unembedding && W_dec.shape[1] === unembedding.W_U.shape[1]) {
    const effects = logitEffects(
      W_dec,
      candidates.map(({ latent }) => latent),
      unembedding,
      PROMOTED,
    );
    effects.forEach((effect, i) => {
      candidates[i]!.effect = effect;
    });
  }
  return chooseInteresting(candidates, options.count, decoder.cosine).map((c) => describe(c, scan, options));
}

function candidatesOf(
  scan: Scan,
  { tokens, examples }: FeatureOptions,
  norm: (latent: number) => number,
): Candidate[] {
  const { feature_density, consistent_activation_heuristic, mean_activation } = scan.latents;
  const tokensOf = (context: number) => tokens.tokens(context);
  const found: Candidate[] = [];
  feature_density.forEach((density, latent) => {
    if (density < DENSITY_RANGE[0] || density > DENSITY_RANGE[1]) return;
    const contexts = (density * scan.rows) / consistent_activation_heuristic[latent]!;
    if (contexts < LEAST_CONTEXTS - 0.5) return;
    const distinct = distinctExamples(scan.examples.of(latent), tokensOf);
    if (distinct.length < examples) return;
    found.push({
      latent,
      density,
      mean_activation: mean_activation[latent]!,
      examples: distinct,
      tokens: distinct.map(({ context, position }) => tokensOf(context)[position]!),
      decoderNorm: norm(latent),
    });
  });
  const strength = (c: Candidate) => c.examples[0]!.activation * c.decoderNorm;
  return found.sort((a, b) => strength(b) - strength(a)).slice(0, MOST_CANDIDATES);
}

function describe(
  candidate: Candidate,
  { latents }: Scan,
  { tokens, tokenizer, examples }: FeatureOptions,
): Feature {
  const { latent, effect } = candidate;
  return {
    latent,
    density: candidate.density,
    max_activation: latents.max_activation[latent]!,
    mean_activation: candidate.mean_activation,
    ...(effect && promotedBy(effect, tokenizer)),
    examples: candidate.examples
      .slice(0, examples)
      .map((example) => passageOf(example, tokens.tokens(example.context), tokenizer)),
  };
}

function promotedBy({ promoted, kurtosis }: LogitEffect, tokenizer: Tokenizer) {
  return {
    promoted_tokens: tokenizer.visiblePieces(promoted.map(({ token }) => token)),
    logit_kurtosis: kurtosis,
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
