/**
 * @file Several coders in one pass over the same rows: each batch is read, scaled and uploaded once and goes to every
 * coder. A sweep is a list of runs in the sense of train.ts, nothing else: `out/NAME/` holds what `unfold train` with the
 * same settings would have written, byte for byte apart from speeds, and can be continued by it. dictionary_learning's
 * `trainSAE` is where the idea comes from; its coders must agree in everything but a few numbers, these only in the rows.
 *
 * After a stop each coder goes on from its own newest checkpoint: the furthest behind catches up, then all go on
 * together. Finished coders are left alone, and a coder may be added to a finished sweep.
 */
import { join, relative } from 'node:path';
import type { StageContext } from '../context.ts';
import { nearest, UnfoldError } from '../errors.ts';
import { sweepLeftovers } from '../leftovers.ts';
import { lockDirectory } from '../lock.ts';
import { packageVersion } from '../package-version.ts';
import { writeSealed } from '../seal.ts';
import type { BlockSource } from '../shards/block-source.ts';
import type { Calibration } from './calibrate.ts';
import { namesOf } from './hooks.ts';
import type { RowsOrigin } from './metadata.ts';
import type { MetricsLine } from './metrics.ts';
import type { PlannedRun } from './run.ts';
import { hasFinished } from './run-manifest.ts';
import { expandSweep, refuseDifferentRows, type SweepInput } from './sweep-file.ts';
import {
  planRun,
  type RunOutcome,
  type TrainOptions,
  type TrainResult,
  trainRuns,
  withRows,
} from './train.ts';

/** What to train on, which coders, and where to. */
export interface SweepOptions extends Pick<TrainOptions, 'rows' | 'origin'> {
  /** Folder of the sweep; each coder's run directory is `out/NAME`. */
  out: string;
  /** Shared settings, `coders` and `grid`: see sweep-file.ts. */
  sweep: SweepInput;
}

/** A sweep that came to its end. */
export interface SweepResult {
  dir: string;
  /** Finished coders by name. */
  coders: Record<string, TrainResult>;
  /** Coders that diverged, by name; their last good states are checkpoints. */
  failures: Record<string, UnfoldError>;
}

/** sweep.json. */
export interface SweepManifest {
  format: 'unfold-sweep-1';
  unfold: string;
  /** Content hash of the rows. */
  rows: string;
  coders: Record<string, SweepEntry>;
}

/** A coder of a sweep. `dir` is relative to sweep.json. */
export interface SweepEntry {
  dir: string;
  /** Hash of its config.json. */
  run: string;
  architecture: string;
  hooks: string[];
  status: 'begun' | 'finished' | 'diverged';
  metrics?: MetricsLine;
  calibration?: Calibration;
  /** SHA-256 of final/sae_weights.safetensors. */
  weights?: string;
  /** Where and what was not finite. */
  failure?: string;
}

/** Name of the manifest of a sweep. */
export const SWEEP_FILE = 'sweep.json';

/**
 * Trains all coders of a sweep together.
 * @throws UnfoldError `bad-sweep`, and what {@link train} throws except that a coder that diverges is reported in
 *   `failures` while the others go on; the signal's reason when stopped, after checkpoints of all
 */
export async function trainSweep(options: SweepOptions, context: StageContext): Promise<SweepResult> {
  const { out, sweep } = options;
  const settings = expandSweep(sweep);
  return withRows(options, context, async (source, origin) => {
    const planned = planSweep(out, settings, source, origin);
    const lock = await lockDirectory(out, context);
    try {
      await writeManifest(out, source, planned);
      const outcomes = await trainRuns(planned, source, context);
      await writeManifest(out, source, planned, outcomes);
      return sweepResult(out, planned, outcomes);
    } finally {
      await lock.release();
      await sweepLeftovers(out);
    }
  });
}

/**
 * Trains some coders of a sweep into the folders that {@link trainSweep} would, and leaves sweep.json to it: so several
 * processes can share a sweep out. The bytes are the same.
 * @throws UnfoldError `bad-sweep` (also for a coder that the sweep does not have), and what {@link train} throws
 */
export async function trainCodersOf(
  options: SweepOptions,
  names: readonly string[],
  context: StageContext,
): Promise<SweepResult> {
  const { out, sweep } = options;
  const settings = expandSweep(sweep);
  for (const name of names) if (!settings.has(name)) throw noSuchCoder(name, [...settings.keys()]);
  return withRows(options, context, async (source, origin) => {
    const planned = planSweep(out, settings, source, origin).filter(({ name }) => names.includes(name!));
    return sweepResult(out, planned, await trainRuns(planned, source, context));
  });
}

/** The coders of a sweep that have no finished run in `out`, by the files alone. */
export async function unfinishedCoders({ out, sweep }: Omit<SweepOptions, 'rows'>): Promise<string[]> {
  const names = [...expandSweep(sweep).keys()];
  const finished = await Promise.all(names.map((name) => hasFinished(join(out, name))));
  return names.filter((_, i) => !finished[i]);
}

function noSuchCoder(name: string, known: readonly string[]): UnfoldError {
  return new UnfoldError('bad-sweep', {
    where: 'sweep',
    expected: `one of ${known.join(', ')}`,
    found: `coder ${name}`,
    todo: `did you mean ${nearest(name, known, 1)[0]}?`,
  });
}

/** Every coder's settings checked before anything is trained. */
function planSweep(
  out: string,
  settings: ReturnType<typeof expandSweep>,
  source: BlockSource,
  origin: RowsOrigin,
): PlannedRun[] {
  const planned = [...settings].map(([name, own]) => {
    try {
      return planRun({ name, dir: join(out, name), settings: own }, source, origin);
    } catch (error) {
      throw ofCoder(name, error);
    }
  });
  refuseDifferentRows(new Map(planned.map((plan) => [plan.name!, plan.settings])));
  return planned;
}

/** The error with the coder's name in front, unless it is there. */
function ofCoder(name: string, error: unknown): unknown {
  if (!(error instanceof UnfoldError) || error.lesson.where.includes(`coder ${name}`)) return error;
  return new UnfoldError(error.kind, { ...error.lesson, where: `coder ${name}: ${error.lesson.where}` });
}

async function writeManifest(
  out: string,
  source: BlockSource,
  planned: readonly PlannedRun[],
  outcomes: readonly RunOutcome[] = [],
): Promise<void> {
  const manifest: SweepManifest = {
    format: 'unfold-sweep-1',
    unfold: packageVersion(),
    rows: source.contentHash,
    coders: Object.fromEntries(planned.map((plan, i) => [plan.name, entryOf(out, plan, outcomes[i])])),
  };
  await writeSealed(join(out, SWEEP_FILE), manifest);
}

function entryOf(
  out: string,
  { dir, settings, hooks, config }: PlannedRun,
  outcome?: RunOutcome,
): SweepEntry {
  const entry = {
    dir: relative(out, dir),
    run: config.run,
    architecture: settings.architecture,
    hooks: namesOf(hooks),
  };
  if (!outcome) return { ...entry, status: 'begun' };
  if ('failure' in outcome) return { ...entry, status: 'diverged', failure: outcome.failure.message };
  const { metrics, calibration, weightsHash: weights } = outcome;
  return { ...entry, status: 'finished', metrics, ...(calibration && { calibration }), weights };
}

function sweepResult(
  dir: string,
  planned: readonly PlannedRun[],
  outcomes: readonly RunOutcome[],
): SweepResult {
  const result: SweepResult = { dir, coders: {}, failures: {} };
  outcomes.forEach((outcome, i) => {
    const name = planned[i]!.name!;
    if ('failure' in outcome) result.failures[name] = outcome.failure;
    else result.coders[name] = outcome;
  });
  return result;
}

/** The one object of `unfold train --sweep FILE --json`. */
export function sweepJson({ dir, coders, failures }: SweepResult): Record<string, unknown> {
  const finished = Object.entries(coders).map(([name, result]) => {
    const { metrics, dir: run, coderDir, weightsHash, calibration, skipped, settings } = result;
    const about = { dir: run, coder: coderDir, weights_sha256: weightsHash, skipped, settings };
    return [name, { ...metrics, ...(calibration && { calibration }), ...about }];
  });
  const failed = Object.entries(failures).map(([name, { kind, lesson }]) => {
    const { where, expected, found, todo } = lesson;
    return [name, { error: { kind, where, expected, found, todo } }];
  });
  return {
    dir,
    finished: finished.length,
    failed: failed.map(([name]) => name),
    coders: Object.fromEntries([...finished, ...failed]),
  };
}
