/**
 * @file Training from start to export. The order of events:
 *   1. settings are checked against the rows (settings.ts); the run directory is locked
 *   2. a finished run is returned as it is; a started one goes on from its newest sound checkpoint; else the first rows
 *      are measured and parameters drawn (run.ts)
 *   3. the loop (loop.ts)
 *   4. the coder is exported: thresholds settled, activation scales and decoder norms folded, SAELens's layout, `final/`;
 *      then manifest.json
 * One coder and several (sweep.ts) take the same way.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { trainableNamed } from '../coders/registry.ts';
import { alsoStoppedBy, type StageContext } from '../context.ts';
import type { UnfoldError } from '../errors.ts';
import { sweepLeftovers } from '../leftovers.ts';
import { type Lock, lockDirectory } from '../lock.ts';
import { packageVersion } from '../package-version.ts';
import type { BlockSource } from '../shards/block-source.ts';
import { openShards } from '../shards/reader.ts';
import { defaultBufferRows, shuffledRows } from '../shards/shuffle.ts';
import { type Calibration, FollowingRows } from './calibrate.ts';
import { missedTarget } from './controller.ts';
import { exportCoder } from './export.ts';
import { chooseHooks, namesOf, withHooks } from './hooks.ts';
import { trainTogether } from './loop.ts';
import { originOf, type RowsOrigin } from './metadata.ts';
import { METRICS_FILE, type MetricsLine } from './metrics.ts';
import { closeRun, latentsOf, openRuns, type PlannedRun, type Run } from './run.ts';
import { beginRun, runConfig } from './run-config.ts';
import { FINAL, finishedManifestOf, writeRunManifest } from './run-manifest.ts';
import { resolveSettings, type TrainSettings, type TrainSettingsInput } from './settings.ts';
import { isControlled } from './settings-steering.ts';

/** What to train on, how, and where to. */
export interface TrainOptions {
  /** Run directory. Running the same options again goes on, or returns the finished run. */
  out: string;
  /** Folder of shards, or an open source of rows (which is closed at the end). */
  rows: string | BlockSource;
  /** See {@link TrainSettingsInput}; everything has a default. */
  settings?: TrainSettingsInput;
  /** Where the rows come from, for cfg.json; shards of ours know it themselves. */
  origin?: RowsOrigin;
}

/** A finished run. */
export interface TrainResult {
  dir: string;
  /** Folder of the exported coder: `loadCoder(coderDir)`, or SAELens's `SAE.load_from_disk`. */
  coderDir: string;
  settings: TrainSettings;
  /** Number of latents, of all layers together. */
  latents: number;
  /** The last line of metrics.jsonl. */
  metrics: MetricsLine;
  /** Of coders that settle a threshold after the last step. */
  calibration?: Calibration;
  /** SHA-256 of the exported weight file. */
  weightsHash: string;
  /** True if the run was finished before. */
  skipped: boolean;
}

/** manifest.json of a finished run. */
interface RunManifest {
  format: 'unfold-train-1';
  unfold: string;
  /** Hash of config.json. */
  run: string;
  /** Content hash of the rows. */
  rows: string;
  metrics: MetricsLine;
  calibration?: Calibration;
  /** SHA-256 of final/sae_weights.safetensors. */
  weights: string;
}

/** How one of several runs ended. */
export type RunOutcome = TrainResult | { dir: string; failure: UnfoldError };

/**
 * Trains a coder on activation rows.
 * @throws UnfoldError `bad-setting`, `unknown-hook`, `run-differs` (another run is in `out`), `locked`, `not-finite`,
 *   `disk-full`; the signal's reason when stopped, after a checkpoint
 */
export async function train(options: TrainOptions, context: StageContext): Promise<TrainResult> {
  return withRows(options, context, async (source, origin) => {
    const run = planRun({ dir: options.out, settings: options.settings ?? {} }, source, origin);
    const [outcome] = await trainRuns([run], source, context);
    if ('failure' in outcome!) throw outcome.failure;
    return outcome!;
  });
}

/** Opens the rows, hands them on and closes them. */
export async function withRows<T>(
  { rows, origin }: Pick<TrainOptions, 'rows' | 'origin'>,
  context: StageContext,
  use: (source: BlockSource, origin: RowsOrigin) => Promise<T>,
): Promise<T> {
  const opened = typeof rows === 'string' ? await openShards(rows, context) : rows;
  const source = closedOnce(opened);
  try {
    return await use(source, origin ?? originOf(opened));
  } finally {
    await source.close();
  }
}

/** A stream closes its source, and so does {@link withRows} when it never came to a stream. */
function closedOnce(source: BlockSource): BlockSource {
  let closing: Promise<void> | undefined;
  const { hooks, blockRows, contentHash } = source;
  const close = () => (closing ??= source.close());
  return {
    hooks,
    blockRows,
    contentHash,
    readBlock: (index, names) => source.readBlock(index, names),
    close,
  };
}

/** Checks the settings of a run against the rows. @throws UnfoldError `bad-setting`, `unknown-hook` */
export function planRun(
  { name, dir, settings: raw }: { name?: string; dir: string; settings: TrainSettingsInput },
  source: BlockSource,
  origin: RowsOrigin,
): PlannedRun {
  const architecture = trainableNamed(String(raw.architecture ?? 'topk'), 'architecture');
  const { hook_name, hook_name_out, hook_names, hook_names_out } = raw;
  const owner = name === undefined ? architecture.name : `coder ${name}`;
  const named = { hook_name, hook_name_out, hook_names, hook_names_out };
  const hooks = chooseHooks(source, architecture.training.hooks ?? 'one', named, owner);
  const hookName = hooks.in.length === 1 && hook_names === undefined ? { hook_name: hooks.in[0]!.name } : {};
  const settings = resolveSettings({ ...raw, ...hookName }, hooks.in[0]!.width);
  return { name, dir, settings, hooks, config: runConfig(settings, hooks, source, origin) };
}

/**
 * Takes runs over the same rows from where they are to their ends; finished ones are left alone. Their order of rows,
 * batches and lengths are the same.
 * @returns how each ended, in order
 */
export async function trainRuns(
  planned: readonly PlannedRun[],
  source: BlockSource,
  outer: StageContext,
): Promise<RunOutcome[]> {
  const locks: Lock[] = [];
  try {
    for (const { dir } of planned) locks.push(await lockDirectory(dir, outer));
    const lost = AbortSignal.any(locks.map((lock) => lock.signal));
    const context = alsoStoppedBy(lost, outer);
    for (const { dir, config } of planned) await beginRun(dir, config, context);
    const outcomes = new Map<PlannedRun, RunOutcome>();
    for (const plan of planned) {
      const finished = await finishedRun(plan, context);
      if (finished) outcomes.set(plan, finished);
    }
    const open = planned.filter((plan) => !outcomes.has(plan));
    const ended = open.length > 0 ? await runAndExport(open, source, context) : [];
    open.forEach((plan, i) => void outcomes.set(plan, ended[i]!));
    return planned.map((plan) => outcomes.get(plan)!);
  } finally {
    await Promise.all(locks.map((lock) => lock.release()));
    for (const { dir } of planned) await sweepLeftovers(dir);
  }
}

async function finishedRun(plan: PlannedRun, context: StageContext): Promise<TrainResult | undefined> {
  const manifest = await finishedManifestOf<RunManifest>(plan.dir, plan.config.run, context);
  return manifest && resultOf(plan, manifest, true);
}

function resultOf(
  { dir, settings, config }: PlannedRun,
  { metrics, calibration, weights }: RunManifest,
  skipped: boolean,
): TrainResult {
  return {
    dir,
    coderDir: join(dir, FINAL),
    settings,
    latents: latentsOf(settings.architecture, config.cfg),
    metrics,
    ...(calibration && { calibration }),
    weightsHash: weights,
    skipped,
  };
}

async function runAndExport(
  planned: readonly PlannedRun[],
  source: BlockSource,
  context: StageContext,
): Promise<RunOutcome[]> {
  const { data_seed, shuffle_buffer_rows } = planned[0]!.settings;
  // The order of rows must not depend on which of the harvested hooks are read.
  const bufferRows = shuffle_buffer_rows ?? defaultBufferRows(source.hooks);
  const needed = [...new Set(planned.flatMap(({ hooks }) => namesOf(hooks)))];
  const stream = shuffledRows(withHooks(source, needed), { seed: data_seed, bufferRows });
  let runs: Run[] = [];
  try {
    runs = await openRuns(planned, stream, context);
    const ends = await trainTogether(runs, stream, context);
    const outcomes: RunOutcome[] = [];
    const { total_steps, train_batch_size_tokens: size } = planned[0]!.settings;
    const following = new FollowingRows(stream, total_steps * size, size);
    for (const [i, run] of runs.entries()) {
      const { line, failure } = ends[i]!;
      if (failure) outcomes.push({ dir: run.dir, failure });
      else outcomes.push(await finish(planned[i]!, run, following, line, context));
    }
    return outcomes;
  } finally {
    await Promise.all(runs.map(closeRun));
    await stream.close();
  }
}

async function finish(
  plan: PlannedRun,
  run: Run,
  following: FollowingRows,
  line: MetricsLine | undefined,
  context: StageContext,
): Promise<TrainResult> {
  const metrics = line ?? (await lastLine(run.dir));
  const { weights, calibration } = await exportCoder(run, following, {
    dir: join(run.dir, FINAL),
    trainedL0: metrics.l0,
    context,
  });
  const missed = missOf(run, metrics);
  if (missed) context.warn(run.name === undefined ? missed : `${run.name}: ${missed}`);
  const manifest: RunManifest = {
    format: 'unfold-train-1',
    unfold: packageVersion(),
    run: plan.config.run,
    rows: plan.config.rows,
    metrics: { ...metrics, ...(calibration && { exported_l0: calibration.l0 }) },
    ...(calibration && { calibration }),
    weights,
  };
  await writeRunManifest(run.dir, manifest);
  return resultOf(plan, manifest, false);
}

/** What to say about a target L0 that was not reached. */
function missOf({ settings }: Run, { l0, sparsity_multiplier }: MetricsLine): string | undefined {
  if (!isControlled(settings)) return undefined;
  return missedTarget({ target_l0: settings.target_l0! }, l0, sparsity_multiplier ?? 1);
}

/** Of a run whose training was over before it was stopped. */
async function lastLine(dir: string): Promise<MetricsLine> {
  const lines = (await readFile(join(dir, METRICS_FILE), 'utf8')).trimEnd().split('\n');
  return JSON.parse(lines.at(-1)!) as MetricsLine;
}
