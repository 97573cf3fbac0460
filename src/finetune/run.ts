/** @file A fine-tuning run before and at its beginning: what determines it, what is measured, and where it goes on. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Coder } from '../coders/base.ts';
import type { CoderConfig } from '../coders/config.ts';
import type { StageContext } from '../context.ts';
import type { EvaluationWorld } from '../evaluate/evaluate-coder.ts';
import { hashOf } from '../files.ts';
import type * as tf from '../tensor/tf.ts';
import { type Restored, type RunState, restoreCheckpoint } from '../train/checkpoint.ts';
import { LatentCounters } from '../train/dead-latents.ts';
import { targetsOf } from '../train/hooks.ts';
import { emptySums, METRICS_FILE, MetricsFile } from '../train/metrics.ts';
import { startMoments } from '../train/optimizer.ts';
import { createTrainingCoder, type Run } from '../train/run.ts';
import type { RunConfig } from '../train/run-config.ts';
import { usableScales } from '../train/scale.ts';
import type { TrainSettings } from '../train/settings.ts';
import type { ContextOrder } from './contexts.ts';
import { measureStart } from './measure.ts';
import type { FinetuneSettings, ResolvedFinetune } from './settings.ts';
import { type Splice, SplicedBatch } from './spliced-batch.ts';
import { hooksOfRun, startingParameters, trainingConfig, type Variant } from './start.ts';

/** Settings as they stand in config.json. `loss_coefficient` and a held `target_l0` are the measured ones. */
type Settings = TrainSettings & { finetune: FinetuneSettings & { loss_coefficient: number } };

/** A run before it begins. */
export interface FinetunePlan {
  dir: string;
  config: RunConfig & { settings: Settings };
  splice: Splice;
  order: ContextOrder;
  /** Contexts of a step. */
  contextsPerStep: number;
  /** Factors on the rows at each hook. */
  scales: RunState['scales'];
  /** What the exported cfg.json says beside the metadata that the coder had. */
  metadata(exported: Coder): Record<string, unknown>;
}

/** What a plan is made of. */
interface Ingredients {
  dir: string;
  coder: Coder;
  variant: Variant;
  resolved: ResolvedFinetune;
  order: ContextOrder;
  splice: Splice;
  world: Pick<EvaluationWorld, 'facts'>;
}

/** Measures the coder on the first contexts, and settles what is to be settled by that. */
export async function planFinetune(given: Ingredients): Promise<FinetunePlan> {
  const { coder, variant, resolved, order, splice } = given;
  const { train, finetune } = resolved;
  const hooks = hooksOfRun(coder, splice.hookIn, splice.hookOut);
  const contextsPerStep = Math.max(1, Math.round(train.train_batch_size_tokens / order.length));
  const steps = Math.ceil(finetune.measured_tokens / (contextsPerStep * order.length));
  const measured = measureStart(coder, hooks, firstBatches(given, contextsPerStep, steps));
  const isScaled = train.normalize_activations === 'expected_average_only_in';
  const ones = { in: hooks.in.map(() => 1), out: hooks.out.map(() => 1) };
  const scales = isScaled ? usableScales(hooks, measured.scales) : ones;
  const squaredError = measured.squaredError * (scales.out[0] ?? scales.in[0]!) ** 2;
  const settings: Settings = {
    ...train,
    ...(resolved.holdsL0 && measured.l0 > 0 && { target_l0: measured.l0 }),
    finetune: {
      ...finetune,
      loss_coefficient: finetune.loss_coefficient ?? squaredError / Math.max(measured.kl, SMALLEST_KL),
    },
  };
  const rows = order.hash();
  const weights = weightsHash(coder);
  const { checkpoint_every_minutes, checkpoint_every_steps, n_checkpoints, ...decisive } = train;
  const model = splice.model.weightsHash;
  const exclusions = { tokens: [...(splice.exclusions.tokens ?? [])], at: splice.exclusions.seqpos_slice };
  const run = hashOf({
    settings: decisive,
    finetune,
    hooks,
    rows,
    weights,
    model,
    exclusions,
    cfg: coder.cfg,
  });
  const cfg: CoderConfig = trainingConfig(coder, variant, settings, {
    hook_name: splice.hookIn,
    ...(hooks.out.length > 0 && { hook_name_out: splice.hookOut }),
  });
  const finetuned = {
    loss: finetune.loss,
    loss_coefficient: settings.finetune.loss_coefficient,
    mse_coefficient: finetune.mse_coefficient,
    training_tokens: train.training_tokens,
    lr: train.lr,
    dataset: given.world.facts.dataset ?? given.world.facts.tokens_file ?? null,
    ...(given.world.facts.packing && { packing: JSON.parse(given.world.facts.packing) as unknown }),
    /** Of the coder it began as, and of the model. */
    from_architecture: coder.cfg.architecture,
    from_weights: weights,
    model_weights: model,
  };
  return {
    dir: given.dir,
    config: { run, settings, hooks, rows, cfg },
    splice,
    order,
    contextsPerStep,
    scales,
    metadata: ({ cfg: { metadata } }) => ({
      unfold: { ...(metadata.unfold as object | undefined), finetuned },
    }),
  };
}

/** Divergences below this are rounding. */
const SMALLEST_KL = 1e-6;

function* firstBatches(
  { order, splice }: Ingredients,
  contextsPerStep: number,
  steps: number,
): Generator<SplicedBatch> {
  for (let step = 0; step < steps; step++) yield batchOf({ order, splice, contextsPerStep }, step);
}

/** The contexts of step `step`, run through the untouched model. */
export function batchOf(
  { order, splice, contextsPerStep }: Pick<FinetunePlan, 'order' | 'splice' | 'contextsPerStep'>,
  step: number,
): SplicedBatch {
  const { contexts, ids } = order.read(step * contextsPerStep, contextsPerStep);
  return new SplicedBatch(splice, contexts, ids);
}

/** SHA-256 over the tensors as they are held, by name: the same for a coder in any layout. */
function weightsHash({ weights }: Coder): string {
  const hash = createHash('sha256');
  for (const name of Object.keys(weights).sort()) {
    const tensor: tf.Tensor = weights[name]!;
    hash.update(`${name} [${tensor.shape}]`).update(tensor.dataSync() as Float32Array);
  }
  return hash.digest('hex');
}

/** The run as its newest checkpoint left it, or at step 0. */
export async function openFinetune(plan: FinetunePlan, coder: Coder, context: StageContext): Promise<Run> {
  const { dir, config, scales } = plan;
  const { settings, hooks, cfg, run: runHash } = config;
  const counters = new LatentCounters(coder.latents, settings.feature_sampling_window);
  const restored = await restoreCheckpoint(dir, runHash, counters, context);
  if (restored) context.note(`going on from step ${restored.state.step} of ${settings.total_steps}`);
  const begun = restored ?? freshStart(coder, { settings, hooks, scales });
  const { state, parameters, statistics } = begun;
  const training = createTrainingCoder(settings, cfg, parameters);
  Object.assign(training.statistics, statistics);
  const metrics = await MetricsFile.open(join(dir, METRICS_FILE), begun.metrics);
  return { dir, runHash, settings, hooks, coder: training, counters, state, metrics };
}

function freshStart(
  coder: Coder,
  { settings, hooks, scales }: { settings: TrainSettings; hooks: Run['hooks']; scales: RunState['scales'] },
): Restored {
  const parameters = startingParameters(coder, scales);
  startMoments(parameters, settings);
  const sums = emptySums(targetsOf(hooks));
  const state = { step: 0, position: 0, scales, metricsBytes: 0, sums };
  return { state, parameters, statistics: {}, metrics: new Uint8Array() };
}
