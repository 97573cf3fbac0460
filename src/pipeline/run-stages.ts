/**
 * @file Runs stages in order, each once: a finished one is skipped, a started one goes on, and what depends on a changed
 * setting (and nothing else) is made anew, in a folder of its own. Killed at any moment, the same call goes on.
 */
import { readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { StageContext } from '../context.ts';
import { internal, UnfoldError } from '../errors.ts';
import { exists, hashOf } from '../files.ts';
import { sweepLeftovers } from '../leftovers.ts';
import { lockDirectory } from '../lock.ts';
import {
  finishedManifest,
  type PlannedStage,
  pointAt,
  runStage,
  type StageFinish,
  type StageRun,
  stageDirectory,
} from './run-stage.ts';
import type { Json, Stage } from './stage.ts';

export type { PlannedStage } from './run-stage.ts';

/** What a stage's folder is named after. */
export interface StageKey {
  name: string;
  /** Hash of all that determines its files. */
  key: string;
  identity: Json;
  /** Keys of the stages it reads. */
  inputs: Record<string, string>;
}

/** What will happen to a stage. */
export interface StagePlan extends StageKey {
  dir: string;
  /** `finished`: its files are there and will be used; `started`: it will go on; `new`: it will begin. */
  state: 'finished' | 'started' | 'new';
  /** Wall-clock seconds it took, if finished. */
  seconds?: number;
}

/** What happened to a stage. */
export interface StageOutcome extends StagePlan {
  /** True if it was finished before. */
  skipped: boolean;
  seconds: number;
  result: Record<string, Json | undefined>;
}

/** How to run. */
export interface RunOptions {
  /** The run directory; one such run at a time. */
  out: string;
  /** This stage and those that depend on it are made again although finished. */
  from?: string;
  /** Told when a stage begins, is skipped or ends. */
  onStage?(outcome: StagePlan & { event: 'skip' | 'begin' | 'end' }): void;
}

/** The key of a stage from what determines it. */
export function keyOf(stage: Stage, identity: Json, inputs: Record<string, string>): string {
  return hashOf({ stage: stage.name, version: stage.version, identity, inputs });
}

/** The key of every stage, in order; computes hashes and looks at no folder. */
export async function stageKeys(planned: readonly PlannedStage[]): Promise<StageKey[]> {
  const keys = new Map<string, StageKey>();
  for (const { stage, settings } of planned) {
    const identity = await stage.identity(settings);
    const inputs = Object.fromEntries(needed(stage, keys).map(({ name, key }) => [name, key]));
    keys.set(stage.name, { name: stage.name, key: keyOf(stage, identity, inputs), identity, inputs });
  }
  return [...keys.values()];
}

/** The key of every stage and whether it is finished in `out`; makes nothing. */
export async function planStages(planned: readonly PlannedStage[], out: string): Promise<StagePlan[]> {
  const plans: StagePlan[] = [];
  for (const [i, of] of (await stageKeys(planned)).entries()) {
    const dir = stageDirectory(out, of.name, of.key);
    const manifest = await finishedManifest(planned[i]!, dir, of.key);
    const state = manifest ? 'finished' : (await exists(dir)) ? 'started' : 'new';
    plans.push({ ...of, dir, state, seconds: manifest?.seconds });
  }
  return plans;
}

/** Runs what is not finished, in the order given (a stage comes after those it needs). */
export async function runStages(
  planned: readonly PlannedStage[],
  options: RunOptions,
  context: StageContext,
): Promise<StageOutcome[]> {
  const lock = await lockDirectory(options.out, context);
  try {
    const plans = await planStages(planned, options.out);
    if (options.from !== undefined) await forget(planned, plans, options.from);
    const done = new Map<string, StageOutcome>();
    for (const [i, item] of planned.entries()) {
      context.signal.throwIfAborted();
      done.set(item.stage.name, await runOne(item, plans[i]!, done, options, context));
    }
    return [...done.values()];
  } finally {
    await lock.release();
    await sweepLeftovers(options.out);
  }
}

async function runOne(
  { stage, settings }: PlannedStage,
  plan: StagePlan,
  done: ReadonlyMap<string, StageOutcome>,
  options: RunOptions,
  context: StageContext,
): Promise<StageOutcome> {
  const { key, identity, dir } = plan;
  const inputs = Object.fromEntries(
    needed(stage, done).map(({ name, dir, key, result }) => [name, { dir, key, result }]),
  );
  const run = { stage, settings, key, identity, dir, inputs };
  const begins = async () => {
    options.onStage?.({ ...plan, event: 'begin' });
    await pointAt(options.out, stage.name, dir);
  };
  const { manifest, skipped } = await runInTurn(run, context, begins);
  const { seconds, result } = manifest;
  if (skipped) await pointAt(options.out, stage.name, dir);
  options.onStage?.({ ...plan, seconds, event: skipped ? 'skip' : 'end' });
  return { ...plan, state: 'finished', skipped, seconds, result };
}

/** Longest pause between two looks at a stage that another process is at, milliseconds. */
const PATIENCE_MS = 5_000;

/** Runs a stage; while a worker of the queue has it, or parts of it, waits for that. */
async function runInTurn(
  run: StageRun,
  context: StageContext,
  begins: () => Promise<void>,
): Promise<StageFinish> {
  for (let pause = 500; ; pause = Math.min(PATIENCE_MS, 2 * pause)) {
    try {
      return await runStage(run, context, begins);
    } catch (error) {
      if (!(error instanceof UnfoldError) || error.kind !== 'locked') throw error;
      if (pause === 500)
        context.note(
          `${run.stage.name}: waiting, for there is ${error.lesson.found} (${error.lesson.where})`,
        );
      await delay(pause, undefined, { signal: context.signal }).catch(() => context.signal.throwIfAborted());
    }
  }
}

function needed<T>(stage: Stage, known: ReadonlyMap<string, T>): T[] {
  return stage.needs.map(
    (name) => known.get(name) ?? internal(`stage ${stage.name} needs ${name}, which comes later`),
  );
}

/** Removes the files of `from` and of whatever depends on it, so that they are made again. */
async function forget(
  planned: readonly PlannedStage[],
  plans: readonly StagePlan[],
  from: string,
): Promise<void> {
  const again = new Set([from]);
  for (const { stage } of planned) if (stage.needs.some((name) => again.has(name))) again.add(stage.name);
  for (const { name, dir } of plans) if (again.has(name) && (await exists(dir))) await empty(dir);
}

/** Removes what a stage made, unless a worker of the queue is at it. */
async function empty(dir: string): Promise<void> {
  const lock = await lockDirectory(dir);
  try {
    await rm(join(dir, 'stage.json'), { force: true });
    for (const name of await readdir(dir))
      if (!name.startsWith('.lock')) await rm(join(dir, name), { recursive: true, force: true });
  } finally {
    await lock.release();
  }
}

/** Folders in `out` of stages under other settings: kept, because a finished stage is never made twice. */
export async function otherFolders(plans: readonly StagePlan[], out: string): Promise<string[]> {
  const current = new Set(plans.map((plan) => basename(plan.dir)));
  const names = plans.map((plan) => plan.name).join('|');
  const pattern = new RegExp(`^(${names})-[0-9a-f]{8}$`);
  const entries = await readdir(out).catch(() => []);
  return entries
    .filter((entry) => pattern.test(entry) && !current.has(entry))
    .map((entry) => join(out, entry));
}
