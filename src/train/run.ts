/**
 * @file A run in progress: one coder with its settings, counters, metrics and place in the stream. A run begins at its
 * newest sound checkpoint, or with parameters drawn and biases measured on the first rows. Several runs over the same
 * rows begin together (a sweep): what two of them measure alike is measured once.
 */
import { join } from 'node:path';
import type { CoderConfig } from '../coders/config.ts';
import { trainableNamed } from '../coders/registry.ts';
import type { CoderHooks, Parameters, TrainingCoder } from '../coders/training.ts';
import type { StageContext } from '../context.ts';
import type { RowStream } from '../shards/shuffle.ts';
import * as tf from '../tensor/tf.ts';
import { type Restored, type RunState, restoreCheckpoint } from './checkpoint.ts';
import { LatentCounters } from './dead-latents.ts';
import { namesOf, targetsOf } from './hooks.ts';
import { lowerBiases } from './initial-biases.ts';
import { initialParameters } from './initialise.ts';
import {
  dataStatistics,
  type HookMeasure,
  type MeasureOptions,
  measureRows,
  measureWhitening,
} from './measure.ts';
import { emptySums, METRICS_FILE, MetricsFile } from './metrics.ts';
import { startMoments } from './optimizer.ts';
import { BatchPreparer, type RowMaps } from './rows.ts';
import type { RunConfig } from './run-config.ts';
import type { TrainSettings } from './settings.ts';
import { type WhiteningMap, whitenedRow } from './whitening.ts';

/** What a run is before it begins. */
export interface PlannedRun {
  /** The coder's name in a sweep. */
  name?: string;
  dir: string;
  settings: TrainSettings;
  hooks: CoderHooks;
  config: RunConfig;
}

/** A run in progress. */
export interface Run {
  /** The coder's name in a sweep. */
  name?: string;
  dir: string;
  runHash: string;
  settings: TrainSettings;
  hooks: CoderHooks;
  coder: TrainingCoder;
  counters: LatentCounters;
  state: RunState;
  metrics: MetricsFile;
}

/** The runs as their newest checkpoints left them, or at step 0. */
export async function openRuns(
  planned: readonly PlannedRun[],
  stream: RowStream,
  context: StageContext,
): Promise<Run[]> {
  const measured = new Measurements(stream, planned);
  const runs: Run[] = [];
  try {
    for (const plan of planned) runs.push(await openRun(plan, measured, context));
    return runs;
  } catch (error) {
    await Promise.all(runs.map(closeRun));
    throw error;
  }
}

/** Lets go of a run's file and tensors. */
export async function closeRun(run: Run): Promise<void> {
  await run.metrics.close();
  run.coder.dispose();
}

async function openRun(
  { name, dir, settings, hooks, config }: PlannedRun,
  measured: Measurements,
  context: StageContext,
): Promise<Run> {
  const { cfg, run: runHash } = config;
  const counters = new LatentCounters(
    latentsOf(settings.architecture, cfg),
    settings.feature_sampling_window,
  );
  const restored = await restoreCheckpoint(dir, runHash, counters, context);
  if (restored) {
    const { step } = restored.state;
    context.note(`${name ? `${name}: ` : ''}going on from step ${step} of ${settings.total_steps}`);
  }
  const {
    state,
    parameters,
    statistics,
    metrics: lines,
  } = restored ?? (await freshStart({ settings, hooks, cfg }, measured));
  const coder = createTrainingCoder(settings, cfg, parameters);
  Object.assign(coder.statistics, statistics);
  const metrics = await MetricsFile.open(join(dir, METRICS_FILE), lines);
  return { name, dir, runHash, settings, hooks, coder, counters, state, metrics };
}

async function freshStart(
  { settings, hooks, cfg }: { settings: TrainSettings; hooks: CoderHooks; cfg: CoderConfig },
  measured: Measurements,
): Promise<Restored> {
  const measures = await measured.of(settings);
  const scaled = settings.normalize_activations === 'expected_average_only_in';
  const { scales, centre, mean } = dataStatistics(hooks, measures, scaled);
  const sums = emptySums(targetsOf(hooks));
  const whitening = await measured.whitening(settings, hooks);
  const state: RunState = { step: 0, position: 0, scales, metricsBytes: 0, sums, whitening };
  const b_dec = whitening ? whitenedRow(centre.y, whitening) : centre.y;
  const meanRow = whitening ? whitenedRow(mean.x, whitening) : mean.x;
  const parameters = initialParameters(settings, cfg, b_dec, meanRow);
  if (settings.initial_l0 !== undefined)
    await lowerBiases(parameters, settings, cfg, await measured.firstRows(hooks, state));
  startMoments(parameters, settings);
  return { state, parameters, statistics: {}, metrics: new Uint8Array() };
}

/** Number of latents that are counted: those of all layers. */
export function latentsOf(architecture: string, cfg: CoderConfig): number {
  return trainableNamed(architecture, 'architecture').training.latents?.(cfg) ?? cfg.d_sae;
}

/** The training variant of the run's architecture. */
export function createTrainingCoder(
  settings: TrainSettings,
  cfg: CoderConfig,
  parameters: Parameters,
): TrainingCoder {
  return trainableNamed(settings.architecture, 'architecture').training.create(
    cfg,
    settings.coder,
    parameters,
  );
}

/** Measures of the first rows, each hook once for all runs that ask the same of it. */
class Measurements {
  readonly #stream: RowStream;
  readonly #planned: readonly PlannedRun[];
  readonly #whitenings = new Map<string, Promise<WhiteningMap>>();
  readonly #known = new Map<string, Promise<Map<string, HookMeasure>>>();

  constructor(stream: RowStream, planned: readonly PlannedRun[]) {
    this.#stream = stream;
    this.#planned = planned;
  }

  /** The whitening of the run's hook, where it wants one. */
  async whitening(settings: TrainSettings, { in: [hook] }: CoderHooks): Promise<WhiteningMap | undefined> {
    if (settings.normalize_activations !== 'covariance_whitening') return undefined;
    const key = JSON.stringify([hook!.name, settings.norm_estimate_rows]);
    const known =
      this.#whitenings.get(key) ?? measureWhitening(this.#stream, hook!, settings.norm_estimate_rows);
    this.#whitenings.set(key, known);
    return known;
  }

  /** The first rows as a step sees them, [rows, d_in]. */
  async firstRows(hooks: CoderHooks, maps: RowMaps): Promise<tf.Tensor2D> {
    const rows = Math.min(BIAS_ROWS, this.#stream.rows);
    const preparer = new BatchPreparer(rows);
    try {
      return tf.clone(preparer.prepare(await this.#stream.read(0, rows), hooks, maps, 0).x);
    } finally {
      preparer.release();
    }
  }

  of(settings: TrainSettings): Promise<Map<string, HookMeasure>> {
    const options = optionsOf(settings);
    const key = JSON.stringify(options);
    const known = this.#known.get(key);
    if (known) return known;
    const alike = this.#planned.filter((plan) => JSON.stringify(optionsOf(plan.settings)) === key);
    const names = [...new Set(alike.flatMap(({ hooks }) => namesOf(hooks)))];
    const measures = measureRows(this.#stream, names, options);
    this.#known.set(key, measures);
    return measures;
  }
}

/** Rows on which initial_l0 is brought about. */
const BIAS_ROWS = 2048;

const optionsOf = (settings: TrainSettings): MeasureOptions => ({
  rows: settings.norm_estimate_rows,
  centre: settings.b_dec_init,
  normalization: settings.normalize_activations,
});
