/**
 * @file Evaluates a coder: how well it reconstructs, how sparsely, and what the model loses when it lives with the
 * reconstruction. Unlike SAELens's `run_evals`, which takes its sparsity metrics from the batches after those of the
 * model metrics, all metrics here come from the same tokens.
 */
import { outputWidth } from '../coders/config.ts';
import { breathe, type StageContext, silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { type CoderHooks, checkHookRows, hooksOf } from './coder-hooks.ts';
import { passThrough } from './coder-pass.ts';
import { countedMask, type Exclusions } from './counted.ts';
import { definitionsOf, type Metrics } from './definitions.ts';
import { fillRows, pickRows, replaceRows } from './hook-rows.ts';
import { BehaviourAccumulator, type TokenBehaviour } from './model-behaviour.ts';
import { ReconstructionAccumulator } from './reconstruction.ts';
import { type DensityHistogram, type LatentStatistics, SparsityAccumulator } from './sparsity.ts';
import {
  type CleanRun,
  compare,
  contextsAtOnce,
  type EvaluatedModel,
  nextTokenLosses,
  runClean,
  runSpliced,
  runZeroed,
} from './spliced-loss.ts';
import { type TokenBatch, type TokenRows, tokenBatches } from './token-rows.ts';
import { type WeightStatistics, weightStatistics } from './weights.ts';

/** What evaluation needs. */
export interface EvaluateOptions extends CoderHooks {
  model: EvaluatedModel;
  tokens: TokenRows;
  /** Positions that do not count; by default none is left out. See `exclusionsOf` for the coder's own. */
  exclusions?: Exclusions;
  /** Contexts of an evaluation batch: matters to the `…_legacy` metrics alone. */
  batch_contexts?: number;
  /** Keeps every position's loss and divergence. */
  per_token?: boolean;
}

/** The result; everything but `latents`, `weights` and `per_token` goes into evaluation.json. */
export interface Evaluation {
  metrics: Metrics;
  definitions: Record<string, string>;
  /** Tokens seen, counted positions, contexts. */
  tokens: { contexts: number; total: number; counted: number };
  density_histogram: DensityHistogram;
  latents: LatentStatistics;
  weights: WeightStatistics;
  /** By context, then position. */
  per_token?: TokenBehaviour[][];
}

const DEFAULT_BATCH_CONTEXTS = 32;

/**
 * Evaluates on contexts of tokens.
 * @throws UnfoldError `bad-evaluation` when no hook is known or no position counts
 */
export async function evaluate(
  options: EvaluateOptions,
  context: StageContext = silent(),
): Promise<Evaluation> {
  const run = new EvaluationRun(options);
  const bar = context.bar('evaluate', options.tokens.contexts * 2, 'contexts');
  const size = options.batch_contexts ?? DEFAULT_BATCH_CONTEXTS;
  for (const batch of tokenBatches(options.tokens, size)) {
    await breathe(context);
    run.addBatch(batch);
    bar.update(batch.start + batch.rows.length);
  }
  run.assertCounted();
  for (const batch of tokenBatches(options.tokens, size)) {
    await breathe(context);
    run.addMeanAblation(batch);
    bar.update(options.tokens.contexts + batch.start + batch.rows.length);
  }
  const result = run.result();
  bar.update(options.tokens.contexts * 2, undefined, factsOf(result.metrics));
  bar.finish(summaryLine(result.metrics));
  return result;
}

/** Metrics for whoever watches from afar. */
export function factsOf(metrics: Metrics): Record<string, number> {
  return Object.fromEntries(
    TOLD.flatMap((name) => (metrics[name] === undefined ? [] : [[name, metrics[name]]])),
  );
}

const TOLD = [
  'explained_variance',
  'l0',
  'mse',
  'ce_loss_score',
  'ce_loss_with_sae',
  'ce_loss_without_sae',
  'kl_div_with_sae',
] as const;

/** One line for the end of a progress bar. */
export function summaryLine(metrics: Metrics): string {
  const shown = (['explained_variance', 'ce_loss_score', 'l0'] as const).filter(
    (name) => metrics[name] !== undefined,
  );
  return shown.map((name) => `${name} ${metrics[name]!.toPrecision(4)}`).join(', ');
}

/** @param total positions that were looked at */
export function noneCounted(total: number): UnfoldError {
  return new UnfoldError('bad-evaluation', {
    where: 'tokens of the evaluation',
    expected: 'at least one position that counts',
    found: `${total} positions, all of them excluded (special tokens or outside seqpos_slice)`,
    todo: 'give more tokens, or count all positions with --all-tokens',
  });
}

/** State of one evaluation. */
class EvaluationRun {
  readonly #options: EvaluateOptions;
  readonly #hookIn: string;
  readonly #hookOut: string;
  readonly #reconstruction: ReconstructionAccumulator;
  readonly #sparsity: SparsityAccumulator;
  readonly #tokens: TokenBehaviour[][] = [];
  /** By first context of a part: the activations at positions that do not count, which the mean ablation leaves alone. */
  readonly #uncounted = new Map<number, Float32Array>();
  #total = 0;

  constructor(options: EvaluateOptions) {
    this.#options = options;
    const { hookIn, hookOut } = hooksOf(options);
    checkHookRows(options.model, [
      { name: hookIn, width: options.coder.inputWidth },
      { name: hookOut, width: options.coder.outputWidth },
    ]);
    this.#hookIn = hookIn;
    this.#hookOut = hookOut;
    this.#reconstruction = new ReconstructionAccumulator(outputWidth(options.coder.cfg));
    this.#sparsity = new SparsityAccumulator(options.coder.cfg.d_sae);
  }

  addBatch(batch: TokenBatch): void {
    const parts = this.#split(batch).map(({ start, rows }) => this.#addPart(start, rows));
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    const width = this.#reconstruction.width;
    const [x, xhat] = [new Float32Array(rows * width), new Float32Array(rows * width)];
    let filled = 0;
    for (const part of parts) {
      x.set(part.x, filled);
      xhat.set(part.xhat, filled);
      filled += part.x.length;
    }
    this.#reconstruction.add(x, xhat, rows);
  }

  /** A few contexts: model, coder, model with the splice, model with zeros. */
  #addPart(start: number, tokens: number[][]) {
    const { model, coder } = this.#options;
    const clean = runClean(model, tokens, [...new Set([this.#hookIn, this.#hookOut])]);
    const mask = this.#maskOf(tokens);
    const rows = mask.reduce((sum, one) => sum + one, 0);
    const pass = passThrough(coder, pickRows(this.#value(clean, this.#hookIn), coder.cfg.d_in, mask), rows);
    this.#sparsity.add(pass.acts, countedContexts(tokens, mask, start));
    const original = this.#value(clean, this.#hookOut);
    const width = this.#reconstruction.width;
    const spliced = replaceRows(original, width, mask, pass.xhat);
    this.#uncounted.set(start, pickRows(original, width, inverted(mask)));
    const sae = runSpliced(model, tokens, this.#hookOut, spliced);
    const ablated = runZeroed(model, tokens, this.#hookOut, width);
    this.#keep(tokens, mask, compare(clean, sae, ablated));
    return { rows, x: pickRows(original, width, mask), xhat: pass.xhat };
  }

  /** Second pass: the loss with the mean in place of the hook, now that the mean is known. */
  addMeanAblation(batch: TokenBatch): void {
    const { model } = this.#options;
    const mean = this.#reconstruction.mean;
    for (const { start, rows } of this.#split(batch)) {
      const length = rows[0]!.length;
      const mask = this.#maskOf(rows);
      const means = fillRows(new Float32Array(mask.length * mean.length), mean.length, mask, mean);
      const values = replaceRows(means, mean.length, inverted(mask), this.#uncounted.get(start)!);
      const ablated = runSpliced(model, rows, this.#hookOut, values);
      nextTokenLosses(ablated, rows).forEach((loss, row) => {
        const token = this.#tokens[start + Math.floor(row / length)]![row % length]!;
        token.ce_loss_with_mean_ablation = mask[row] ? loss : Number.NaN;
      });
    }
  }

  assertCounted(): void {
    if (this.#sparsity.rows === 0) throw noneCounted(this.#total);
  }

  result(): Evaluation {
    const behaviour = new BehaviourAccumulator();
    for (const context of this.#tokens) for (const token of context) behaviour.add(token);
    const metrics = { ...behaviour.result(), ...this.#reconstruction.result(), ...this.#sparsity.result() };
    return {
      metrics,
      definitions: definitionsOf(metrics),
      tokens: { contexts: this.#tokens.length, total: this.#total, counted: this.#sparsity.rows },
      density_histogram: this.#sparsity.histogram(),
      latents: this.#sparsity.latents(),
      weights: weightStatistics(this.#options.coder),
      ...(this.#options.per_token && { per_token: this.#tokens }),
    };
  }

  #value(clean: CleanRun, hook: string): Float32Array {
    return clean.activations.get(hook)!;
  }

  #maskOf(tokens: number[][]): Uint8Array {
    const length = tokens[0]!.length;
    const mask = new Uint8Array(tokens.length * length);
    tokens.forEach((row, i) => {
      mask.set(countedMask(row, this.#options.exclusions ?? {}), i * length);
    });
    return mask;
  }

  /** Positions that do not count are kept with NaN, so that per-token arrays keep their shape. */
  #keep(tokens: number[][], mask: Uint8Array, behaviours: TokenBehaviour[]): void {
    const length = tokens[0]!.length;
    this.#total += mask.length;
    tokens.forEach((_, i) => {
      const context = behaviours.slice(i * length, (i + 1) * length);
      this.#tokens.push(
        context
          .map((token, at) => (mask[i * length + at] ? token : uncounted))
          .map((token) => ({ ...token })),
      );
    });
  }

  #split(batch: TokenBatch): TokenBatch[] {
    const size = contextsAtOnce(this.#options.model.cfg.d_vocab, batch.rows[0]!.length);
    return Array.from({ length: Math.ceil(batch.rows.length / size) }, (_, i) => ({
      start: batch.start + i * size,
      rows: batch.rows.slice(i * size, (i + 1) * size),
    }));
  }
}

const uncounted: TokenBehaviour = {
  ce_loss_without_sae: Number.NaN,
  ce_loss_with_sae: Number.NaN,
  ce_loss_with_ablation: Number.NaN,
  ce_loss_with_mean_ablation: Number.NaN,
  kl_div_with_sae: Number.NaN,
  kl_div_with_ablation: Number.NaN,
};

function inverted(mask: Uint8Array): Uint8Array {
  return mask.map((one) => 1 - one);
}

/** [counted rows] index of the context each comes from. */
function countedContexts(tokens: number[][], mask: Uint8Array, start: number): number[] {
  const length = tokens[0]!.length;
  return Array.from(mask).flatMap((one, row) => (one ? [start + Math.floor(row / length)] : []));
}
