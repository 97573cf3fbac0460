/**
 * @file Fine-tuning through the model (end to end; Braun et al. 2024, sparsify's `loss_fn: kl | ce`, Karvonen 2025's short
 * fine-tune): the coder is spliced in at its hook, and what is minimised is what the model makes of it. The model's weights
 * are constants; the gradient at the reconstruction comes from automatic differentiation through the rest of the model, and
 * from there on a step is a step of training: the same pass, optimiser, schedules, checkpoints and metrics.
 * Left out of e2e_sae: training from scratch, and losses at the residual streams of later blocks.
 */
import { join } from 'node:path';
import type { Coder } from '../coders/base.ts';
import { openCoder } from '../coders/formats/load.ts';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { checkHookRows, hooksOf } from '../evaluate/coder-hooks.ts';
import type { Metrics } from '../evaluate/definitions.ts';
import { evaluate } from '../evaluate/evaluate.ts';
import { type EvaluateCoderOptions, type EvaluationWorld, withModel } from '../evaluate/evaluate-coder.ts';
import { firstRows, type TokenRows } from '../evaluate/token-rows.ts';
import { sweepLeftovers } from '../leftovers.ts';
import { lockDirectory } from '../lock.ts';
import { hookLayer } from '../model/hook-names.ts';
import { packageVersion } from '../package-version.ts';
import { missedTarget } from '../train/controller.ts';
import { exportedCoder, writeExported } from '../train/export.ts';
import type { MetricsLine } from '../train/metrics.ts';
import { settleParameters } from '../train/optimizer.ts';
import { closeRun, type Run } from '../train/run.ts';
import { beginRun } from '../train/run-config.ts';
import { FINAL, finishedManifestOf, writeRunManifest } from '../train/run-manifest.ts';
import type { TrainSettings } from '../train/settings.ts';
import { ContextOrder } from './contexts.ts';
import { trainThrough } from './loop.ts';
import { type FinetunePlan, openFinetune, planFinetune } from './run.ts';
import {
  type FinetuneSettings,
  type FinetuneSettingsInput,
  type ResolvedFinetune,
  resolveFinetune,
} from './settings.ts';
import { type Variant, variantOf } from './start.ts';

/** What to fine-tune, in which model, on which text, and where to. */
export interface FinetuneOptions
  extends Omit<
    EvaluateCoderOptions,
    'model' | 'shards' | 'batch_contexts' | 'per_token' | 'per_latent' | 'out'
  > {
  /** Folder or hub id of the model. */
  model: string;
  /** Run directory. Running the same options again goes on, or returns the finished run. */
  out: string;
  /** See {@link FinetuneSettingsInput}; everything has a default. */
  settings?: FinetuneSettingsInput;
}

/** A finished run. */
export interface FinetuneResult {
  dir: string;
  /** Folder of the exported coder: `loadCoder(coderDir)`, or SAELens's `SAE.load_from_disk`. */
  coderDir: string;
  settings: TrainSettings & { finetune: FinetuneSettings };
  /** Number of latents. */
  latents: number;
  /** The last line of metrics.jsonl. */
  metrics: MetricsLine;
  /** The evaluation of the coder as it was and as it became, on tokens that were not trained on. */
  before?: Metrics;
  after?: Metrics;
  /** SHA-256 of the exported weight file. */
  weightsHash: string;
  /** True if the run was finished before. */
  skipped: boolean;
}

/** manifest.json of a finished run. */
type FinetuneManifest = Pick<FinetuneResult, 'metrics' | 'before' | 'after'> & {
  format: 'unfold-finetune-1';
  unfold: string;
  /** Hash of what determines the weights. */
  run: string;
  /** SHA-256 of final/sae_weights.safetensors. */
  weights: string;
};

/**
 * Fine-tunes a coder through its model.
 * @throws UnfoldError `unknown-architecture`, `bad-setting`, `unknown-hook`, `bad-tokens`, `run-differs`, `locked`,
 *   `not-finite`, `disk-full`, and those of what is opened; the signal's reason when stopped, after a checkpoint
 */
export async function finetune(options: FinetuneOptions, context: StageContext): Promise<FinetuneResult> {
  requireText(options);
  const { coder } = await openCoder(options.coder, options, context);
  try {
    const variant = variantOf(coder.cfg);
    const resolved = resolveFinetune(options.settings ?? {}, coder, variant);
    const { training_tokens } = resolved.train;
    const max_tokens = options.max_tokens ?? training_tokens + resolved.finetune.eval_tokens;
    return await withModel(coder, { ...options, max_tokens }, context, (world) =>
      inModel({ options, coder, variant, resolved, world }, context),
    );
  } finally {
    coder.dispose();
  }
}

/** What is known once the model is open. */
interface Opened {
  options: FinetuneOptions;
  coder: Coder;
  variant: Variant;
  resolved: ResolvedFinetune;
  world: EvaluationWorld;
}

async function inModel(opened: Opened, context: StageContext): Promise<FinetuneResult> {
  const { options, coder, world, resolved } = opened;
  const { hookIn, hookOut } = checkedHooks(opened);
  const { trained, heldOut } = split(world.tokens, resolved.finetune.eval_tokens);
  const order = new ContextOrder(trained, resolved.train.data_seed);
  const splice = { model: world.model, hookIn, hookOut, exclusions: world.exclusions };
  const plan = await planFinetune({ ...opened, dir: options.out, order, splice });
  const lock = await lockDirectory(plan.dir, context);
  try {
    await beginRun(plan.dir, plan.config, context);
    const finished = await finishedManifestOf<FinetuneManifest>(plan.dir, plan.config.run, context);
    if (finished) return resultOf(plan, coder.latents, finished, true);
    const measure = (which: Coder) =>
      heldOut.contexts === 0 ? undefined : metricsOf(which, { ...opened, tokens: heldOut }, context);
    const before = await measure(coder);
    const run = await openFinetune(plan, coder, context);
    try {
      const line = await trainThrough(plan, run, context);
      const { target_l0 } = run.settings;
      const multiplier = line.sparsity_multiplier;
      if (multiplier !== undefined) {
        const missed = missedTarget({ target_l0: target_l0! }, line.l0, multiplier);
        if (missed) context.warn(missed);
      }
      return await finish(plan, run, { line, before, measure });
    } finally {
      await closeRun(run);
    }
  } finally {
    await lock.release();
    await sweepLeftovers(plan.dir);
  }
}

/** The last contexts are kept for evaluation, half of them at most. */
function split(tokens: TokenRows, eval_tokens: number): { trained: TokenRows; heldOut: TokenRows } {
  const length = tokens.contexts > 0 ? tokens.tokens(0).length : 1;
  const held = Math.min(Math.ceil(eval_tokens / length), Math.floor(tokens.contexts / 2));
  const from = tokens.contexts - held;
  return {
    trained: firstRows(tokens, from),
    heldOut: { contexts: held, tokens: (i) => tokens.tokens(from + i) },
  };
}

async function metricsOf(
  coder: Coder,
  { options, world, tokens }: Opened & { tokens: TokenRows },
  context: StageContext,
): Promise<Metrics> {
  const { hook_name, hook_name_out } = options;
  const { model, exclusions } = world;
  const { metrics } = await evaluate(
    {
      model,
      coder,
      tokens,
      exclusions,
      ...(hook_name && { hook_name }),
      ...(hook_name_out && { hook_name_out }),
    },
    context,
  );
  return metrics;
}

/** The hooks of the coder. @throws UnfoldError when the model has no such hook, of that width, inside a block */
function checkedHooks({ options, coder, world }: Opened): { hookIn: string; hookOut: string } {
  const { hook_name, hook_name_out } = options;
  const hooks = hooksOf({ coder, ...(hook_name && { hook_name }), ...(hook_name_out && { hook_name_out }) });
  checkHookRows(world.model, [
    { name: hooks.hookIn, width: coder.inputWidth },
    { name: hooks.hookOut, width: coder.outputWidth },
  ]);
  const outside = [hooks.hookIn, hooks.hookOut].find((name) => hookLayer(name) === undefined);
  if (outside !== undefined)
    throw refused(
      `hook ${outside}`,
      'a hook point inside a block: blocks.N.…',
      outside,
      'fine-tune a coder inside the model',
    );
  return hooks;
}

function requireText({ dataset, tokens, text, all_tokens, exclude_tokens }: FinetuneOptions): void {
  if (tokens !== undefined && text !== undefined)
    throw refused(
      'unfold finetune',
      'how text is packed beside --dataset only',
      Object.keys(text).join(', '),
      'leave it out: ids of --tokens are used as they are',
    );
  if (all_tokens && exclude_tokens)
    throw refused(
      'unfold finetune',
      'one of --all-tokens and --exclude-tokens',
      'both',
      'leave one of them out',
    );
  if ((dataset === undefined) === (tokens === undefined))
    throw refused(
      'unfold finetune',
      'text for the model: one of --dataset and --tokens',
      dataset === undefined ? 'neither' : 'both',
      'add --dataset novels, for example',
    );
}

function refused(where: string, expected: string, found: string, todo: string): UnfoldError {
  return new UnfoldError('bad-setting', { where, expected, found, todo });
}

function resultOf(
  { dir, config }: FinetunePlan,
  latents: number,
  { metrics, before, after, weights }: FinetuneManifest,
  skipped: boolean,
): FinetuneResult {
  return {
    dir,
    coderDir: join(dir, FINAL),
    settings: config.settings,
    latents,
    metrics,
    ...(before && { before }),
    ...(after && { after }),
    weightsHash: weights,
    skipped,
  };
}

async function finish(
  plan: FinetunePlan,
  run: Run,
  ended: { line: MetricsLine; before?: Metrics; measure(coder: Coder): Promise<Metrics> | undefined },
): Promise<FinetuneResult> {
  const { coder, state, settings, counters } = run;
  const { line, before, measure } = ended;
  settleParameters(coder.parameters, settings);
  const exported = exportedCoder(coder, state, settings.fold_decoder_norms);
  try {
    const after = await measure(exported);
    const weights = await writeExported(run, exported, join(run.dir, FINAL), plan.metadata(exported));
    const manifest: FinetuneManifest = {
      format: 'unfold-finetune-1',
      unfold: packageVersion(),
      run: plan.config.run,
      metrics: line,
      ...(before && { before }),
      ...(after && { after }),
      weights,
    };
    await writeRunManifest(run.dir, manifest);
    return resultOf(plan, counters.current.length, manifest, false);
  } finally {
    exported.dispose();
  }
}
