/**
 * @file Evaluates coders that stand in for several hooks at once: how well each output is predicted, how sparsely, and what
 * the model loses when it lives with one prediction alone, and with all of them. All at once means the replacement model of
 * Ameisen et al. (2025): every layer's prediction is made from what the layers before it, replaced too, have left there.
 * Crosscoders need all hooks at once, so theirs are made from the untouched run.
 */
import { breathe, type StageContext, silent } from '../context.ts';
import type { BlockSource } from '../shards/block-source.ts';
import { checkHookRows } from './coder-hooks.ts';
import { countedMask, type Exclusions } from './counted.ts';
import { definitionsOf, type Metrics } from './definitions.ts';
import { factsOf, noneCounted, summaryLine } from './evaluate.ts';
import { rowsOf } from './evaluate-rows.ts';
import { pickRows, replaceRows, splice } from './hook-rows.ts';
import { liveHooks } from './live-hooks.ts';
import { BehaviourAccumulator, type TokenBehaviour } from './model-behaviour.ts';
import { ReconstructionAccumulator } from './reconstruction.ts';
import { type HookRows, type Replacement, sideBySide } from './replacement.ts';
import type { SparseRows } from './sparse-rows.ts';
import { type LatentStatistics, SparsityAccumulator } from './sparsity.ts';
import {
  compare,
  contextsAtOnce,
  type EvaluatedModel,
  runClean,
  runHooked,
  runSpliced,
  runZeroed,
} from './spliced-loss.ts';
import { countedBlocks, type RowChoice } from './stored-rows.ts';
import { type TokenRows, tokenBatches } from './token-rows.ts';

/** What evaluation needs. */
export interface EvaluateLayersOptions {
  replacement: Replacement;
  model: EvaluatedModel;
  tokens: TokenRows;
  exclusions?: Exclusions;
}

/** One output and, where latents belong to layers, that layer's latents. */
export interface HookEvaluation {
  hook: string;
  /** With this hook alone replaced. */
  metrics: Metrics;
}

/** The result. */
export interface LayersEvaluation {
  /** With all hooks replaced; reconstruction over all outputs side by side, L0 and dead latents of all layers together. */
  metrics: Metrics;
  hooks: HookEvaluation[];
  definitions: Record<string, string>;
  /** What is known of every latent: by layer, or of all together. */
  latents: readonly LatentStatistics[];
  tokens: { contexts: number; total: number; counted: number };
}

/**
 * Evaluates on contexts of tokens.
 * @throws UnfoldError `bad-evaluation` when no position counts
 */
export async function evaluateLayers(
  options: EvaluateLayersOptions,
  context: StageContext = silent(),
): Promise<LayersEvaluation> {
  const { replacement, model, tokens } = options;
  checkHookRows(model, [...replacement.inputs, ...replacement.outputs]);
  const run = new LayersRun(replacement);
  const bar = context.bar('evaluate', tokens.contexts, 'contexts');
  for (const batch of tokenBatches(tokens, contextsAtOnce(model.cfg.d_vocab, maxLength(tokens)))) {
    await breathe(context);
    run.addContexts(options, batch.rows, batch.start);
    bar.update(batch.start + batch.rows.length);
  }
  const result = run.result();
  if (result.tokens.counted === 0) throw noneCounted(result.tokens.total);
  bar.update(tokens.contexts, undefined, factsOf(result.metrics));
  bar.finish(summaryLine(result.metrics));
  return result;
}

/** Evaluates on stored activations: reconstruction and sparsity only. */
export async function evaluateLayersRows(
  { replacement, source, ...choice }: RowChoice & { replacement: Replacement; source: BlockSource },
  context: StageContext = silent(),
): Promise<LayersEvaluation> {
  const run = new LayersRun(replacement);
  const bar = context.bar('evaluate', source.blockRows.length, 'blocks');
  for await (const { block, index, total } of countedBlocks(source, choice)) {
    await breathe(context);
    const { activations, seqId } = block;
    const all = (hooks: readonly HookRows[]) => hooks.map(({ name }) => rowsOf(activations, name));
    run.addRows(all(replacement.inputs), all(replacement.outputs), seqId);
    run.total = total;
    bar.update(index + 1);
  }
  const result = run.result();
  if (result.tokens.counted === 0) throw noneCounted(run.total);
  bar.update(source.blockRows.length, undefined, factsOf(result.metrics));
  bar.finish(summaryLine(result.metrics));
  return { ...result, tokens: { ...result.tokens, contexts: source.blockRows.length } };
}

const maxLength = (tokens: TokenRows): number =>
  Math.max(1, ...Array.from({ length: Math.min(tokens.contexts, 64) }, (_, i) => tokens.tokens(i).length));

/** State of one evaluation. */
class LayersRun {
  total = 0;
  #contexts = 0;
  readonly #replacement: Replacement;
  readonly #all: ReconstructionAccumulator;
  readonly #each: ReconstructionAccumulator[];
  readonly #sparsity: SparsityAccumulator[];
  readonly #behaviours: BehaviourAccumulator[];
  readonly #behaviour = new BehaviourAccumulator();

  constructor(replacement: Replacement) {
    const widths = replacement.outputs.map(({ width }) => width);
    this.#replacement = replacement;
    this.#all = new ReconstructionAccumulator(widths.reduce((sum, width) => sum + width, 0));
    this.#each = widths.map((width) => new ReconstructionAccumulator(width));
    this.#sparsity = replacement.latents.map((latents) => new SparsityAccumulator(latents));
    this.#behaviours = widths.map(() => new BehaviourAccumulator());
  }

  /** Reconstruction and sparsity of counted rows; `contextOf` names each row's context. Gives back the predictions. */
  addRows(x: Float32Array[], y: Float32Array[], contextOf: ArrayLike<number>): Float32Array[] {
    const rows = contextOf.length;
    const widths = this.#replacement.outputs.map(({ width }) => width);
    const { xhat, acts } = this.#replacement.pass(x, rows);
    y.forEach((target, i) => {
      this.#each[i]!.add(target, xhat[i]!, rows);
    });
    this.#all.add(sideBySide(y, widths, rows), sideBySide(xhat, widths, rows), rows);
    acts.forEach((group: SparseRows, i) => {
      this.#sparsity[i]!.add(group, contextOf);
    });
    return xhat;
  }

  /** A few contexts of one length. */
  addContexts(
    { replacement, model, exclusions = {} }: EvaluateLayersOptions,
    tokens: number[][],
    start: number,
  ) {
    const { inputs, outputs } = replacement;
    const clean = runClean(model, tokens, [...new Set([...inputs, ...outputs].map(({ name }) => name))]);
    const length = tokens[0]!.length;
    const mask = Uint8Array.from(tokens.flatMap((row) => Array.from(countedMask(row, exclusions))));
    const pick = ({ name, width }: HookRows) => pickRows(clean.activations.get(name)!, width, mask);
    const contextOf = Array.from(mask).flatMap((one, row) => (one ? [start + Math.floor(row / length)] : []));
    const xhat = this.addRows(inputs.map(pick), outputs.map(pick), contextOf);
    this.total += mask.length;
    this.#contexts += tokens.length;
    outputs.forEach(({ name, width }, i) => {
      const original = clean.activations.get(name)!;
      const spliced = runSpliced(model, tokens, name, replaceRows(original, width, mask, xhat[i]!));
      const ablated = runZeroed(model, tokens, name, width);
      addCounted(this.#behaviours[i]!, mask, compare(clean, spliced, ablated));
    });
    const hooks = replacement.start
      ? liveHooks(replacement, replacement.start(), mask)
      : outputs.map(({ name, width }, i) =>
          splice(name, replaceRows(clean.activations.get(name)!, width, mask, xhat[i]!)),
        );
    const all = runHooked(model, tokens, hooks);
    const zeros = outputs.map(({ name, width }) => splice(name, new Float32Array(mask.length * width)));
    addCounted(this.#behaviour, mask, compare(clean, all, runHooked(model, tokens, zeros)));
  }

  result(): LayersEvaluation {
    const sparsity = this.#sparsity.map((group) => group.result());
    const own = sparsity.length === this.#each.length;
    const hooks = this.#replacement.outputs.map(({ name }, i) => ({
      hook: name,
      metrics: {
        ...this.#behaviours[i]!.result(),
        ...withoutLegacy(this.#each[i]!.result()),
        ...(own && sparsity[i]),
      },
    }));
    const metrics: Metrics = {
      ...this.#behaviour.result(),
      ...withoutLegacy(this.#all.result()),
      ...together(sparsity, this.#replacement.latents),
    };
    return {
      metrics,
      hooks,
      definitions: definitionsOf(metrics),
      latents: this.#sparsity.map((group) => group.latents()),
      tokens: { contexts: this.#contexts, total: this.total, counted: this.#all.rows },
    };
  }
}

function addCounted(sum: BehaviourAccumulator, mask: Uint8Array, tokens: readonly TokenBehaviour[]): void {
  tokens.forEach((token, row) => {
    if (mask[row]) sum.add(token);
  });
}

/** Without what depends on how rows were cut into batches. */
function withoutLegacy(metrics: Metrics): Metrics {
  return Object.fromEntries(Object.entries(metrics).filter(([name]) => !name.endsWith('_legacy')));
}

/** Groups of latents counted together: L0, L1 and numbers of latents add up, shares are of all latents. */
function together(groups: readonly Metrics[], latents: readonly number[]): Metrics {
  if (groups.some(({ l0 }) => l0 === undefined)) return {};
  const sum = (name: keyof Metrics) => groups.reduce((total, group) => total + group[name]!, 0);
  const all = latents.reduce((total, count) => total + count, 0);
  const [n_dead, over1, over10] = [
    sum('n_dead'),
    sum('n_dense_over_1_percent'),
    sum('n_dense_over_10_percent'),
  ];
  return {
    l0: sum('l0'),
    l1: sum('l1'),
    n_dead,
    frac_alive: 1 - n_dead / all,
    n_dense_over_1_percent: over1,
    n_dense_over_10_percent: over10,
    freq_over_1_percent: over1 / all,
    freq_over_10_percent: over10 / all,
  };
}
