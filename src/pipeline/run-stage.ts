/**
 * @file One stage in its folder, run once: what `unfold run` and a worker of the queue have in common. The folder's lock
 * lets one process at a time run the stage as a whole; parts of it (Stage.split) lock what they write instead. stage.json,
 * written last, is what makes the folder count: it lists every file with its hash. A finished one whose files agree is left
 * alone; damaged files are named, removed and made again.
 */
import { readdir, rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { alsoStoppedBy, type StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists, readJson, writeJson } from '../files.ts';
import { makeFolder } from '../folders.ts';
import { type Damage, damageOf, inWords, recordsOf, takeInventory } from '../inventory.ts';
import { sweepLeftovers } from '../leftovers.ts';
import { lockDirectory } from '../lock.ts';
import { partOf } from '../parts.ts';
import { readSealed, writeSealed } from '../seal.ts';
import { warnOfCheckpointsBelow } from '../train/run-manifest.ts';
import { assertMayPublish } from '../write-guard.ts';
import type { Json, Reader, Stage, StageInput, StageManifest } from './stage.ts';

const STAGE_FILE = 'stage.json';

/** A stage with its settings. */
export interface PlannedStage {
  stage: Stage;
  settings: unknown;
}

/** A stage that is ready to run: its inputs are finished. */
export interface StageRun extends PlannedStage {
  key: string;
  identity: Json;
  /** The stage's own folder. */
  dir: string;
  inputs: Record<string, StageInput>;
  /** See StageMessage. */
  reader?: Reader;
}

/** What is in a finished stage's folder. */
export interface StageFinish {
  manifest: StageManifest;
  /** True if it was finished before. */
  skipped: boolean;
}

/** The folder of a stage within a run directory; a key's first 8 digits tell settings apart. */
export function stageDirectory(out: string, name: string, key: string): string {
  return join(out, `${name}-${key.slice(0, 8)}`);
}

/**
 * Does what is left to do and writes stage.json.
 * @param begins told once it is clear that there is something to do
 * @throws UnfoldError `locked` when another process is at it, and those of the stage; the signal's reason when stopped
 */
export async function runStage(
  run: StageRun,
  context: StageContext,
  begins: () => void | Promise<void> = () => {},
): Promise<StageFinish> {
  const before = await finishedManifest(run, run.dir, run.key);
  if (before) return leftAlone(run.dir, before, context);
  const lock = await lockDirectory(run.dir, context);
  try {
    // Whoever held the lock until now may have finished it.
    const finished = await finishedManifest(run, run.dir, run.key);
    if (finished) return await leftAlone(run.dir, finished, context);
    await begins();
    await removeDamaged(run, context);
    return { manifest: await runLocked(run, alsoStoppedBy(lock.signal, context)), skipped: false };
  } finally {
    await lock.release();
    await sweepLeftovers(run.dir);
  }
}

/** A finished stage, without what a process that was killed right after finishing it left there. */
async function leftAlone(dir: string, manifest: StageManifest, context: StageContext): Promise<StageFinish> {
  await forgetClocks(dir).catch(() => undefined);
  await sweepLeftovers(dir);
  await warnOfCheckpointsBelow(dir, context);
  return { manifest, skipped: true };
}

/** Removes what of a stage that was finished once is damaged now, so that it is made again. */
async function removeDamaged(run: StageRun, context: StageContext): Promise<void> {
  const { damage } = await lookAtStage(run, run.dir, run.key);
  for (const one of damage) {
    const path = join(run.dir, one.file);
    context.warn(`${path} is damaged (${inWords(one)}): ${run.stage.name} makes it again`);
    await rm(path, { recursive: true, force: true });
  }
  if (damage.length > 0) await rm(join(run.dir, STAGE_FILE), { force: true });
}

async function runLocked(run: StageRun, context: StageContext): Promise<StageManifest> {
  const { stage, settings, inputs, dir, key, identity, reader } = run;
  const clock = await startClock(dir);
  try {
    const result = await stage.run({ settings, inputs, dir, ...(reader && { reader }) }, context);
    const manifest: StageManifest = {
      kind: 'unfold.stage/1',
      stage: stage.name,
      version: stage.version,
      key,
      identity,
      inputs: Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.key])),
      result,
      seconds: await secondsSpent(dir, clock.seconds()),
      finished_at: new Date().toISOString(),
    };
    // Not if the lock was lost meanwhile: somebody else is at work here then.
    context.signal.throwIfAborted();
    const files = await takeInventory(dir, (file) => file !== STAGE_FILE);
    await writeSealed(join(dir, STAGE_FILE), { ...manifest, files });
    await forgetClocks(dir);
    return manifest;
  } catch (error) {
    await clock.save().catch(() => undefined);
    throw error;
  }
}

/**
 * Does one part of a stage that can be shared out (see {@link Stage.split}); stage.json is left to {@link runStage}.
 * @param name of the part, under which the time it takes is remembered
 */
export async function runStagePart(
  { stage, settings, inputs, dir }: StageRun,
  { name, part }: { name: string; part: Json },
  context: StageContext,
): Promise<Record<string, Json | undefined>> {
  const clock = await startClock(dir, name);
  try {
    return await stage.split!.run({ settings, inputs, dir }, part, context);
  } finally {
    await clock.save().catch(() => undefined);
  }
}

/** The manifest, if it is this key's and everything that the stage wrote is still there, as far as a quick look tells. */
export async function finishedManifest(
  planned: PlannedStage,
  dir: string,
  key: string,
): Promise<StageManifest | undefined> {
  const { manifest, damage } = await lookAtStage(planned, dir, key);
  return damage.length === 0 ? manifest : undefined;
}

/** The manifest, if there is one of this key, and what is missing or damaged of what it vouches for, itself included. */
async function lookAtStage(
  { stage, settings }: PlannedStage,
  dir: string,
  key: string,
): Promise<{ manifest?: StageManifest; damage: Damage[] }> {
  const path = join(dir, STAGE_FILE);
  if (!(await exists(path))) return { damage: [] };
  const json = await readSealed(path, 'run it again').catch((error: unknown) => error);
  if (json instanceof Error) {
    const found = json instanceof UnfoldError ? json.lesson.found : json.message;
    return { damage: [{ file: STAGE_FILE, expected: 'the manifest of a finished stage', found }] };
  }
  const manifest = json as StageManifest | null;
  if (manifest?.kind !== 'unfold.stage/1' || manifest.key !== key) return { damage: [] };
  const missing: Damage[] = [];
  const outputs = typeof stage.outputs === 'function' ? stage.outputs(settings) : stage.outputs;
  for (const file of outputs)
    if (!(await exists(join(dir, file)))) missing.push({ file, expected: 'a file', found: 'no such file' });
  const damage = missing.length > 0 ? missing : await damageOf(dir, recordsOf(manifest));
  return { manifest, damage };
}

/** `out/NAME` leads to the folder of the settings at hand: a stable path to paste into other commands. */
export async function pointAt(out: string, name: string, dir: string): Promise<void> {
  // A job that was taken over meanwhile must not turn the link back to an older folder.
  assertMayPublish();
  const fresh = partOf(join(out, name));
  await symlink(basename(dir), fresh);
  // Renamed over the old link: others that read it meanwhile find one or the other.
  await rename(fresh, join(out, name));
}

const CLOCK = /^\.seconds(-[\w.-]+)?\.json$/;

/** Seconds spent in a stage or a part of it over all its attempts; an attempt that is killed outright is not counted. */
async function startClock(dir: string, part?: string) {
  await makeFolder(dir);
  const path = join(dir, part === undefined ? '.seconds.json' : `.seconds-${part}.json`);
  const before = await secondsIn(path);
  const began = performance.now();
  const seconds = () => before + (performance.now() - began) / 1000;
  return { seconds, save: () => writeJson(path, rounded(seconds())) };
}

/** The time of the stage itself and of all its parts, rounded to milliseconds. */
async function secondsSpent(dir: string, own: number): Promise<number> {
  let sum = own;
  for (const name of await readdir(dir))
    if (CLOCK.test(name) && name !== '.seconds.json') sum += await secondsIn(join(dir, name));
  return rounded(sum);
}

async function forgetClocks(dir: string): Promise<void> {
  for (const name of await readdir(dir)) if (CLOCK.test(name)) await rm(join(dir, name), { force: true });
}

async function secondsIn(path: string): Promise<number> {
  return Number(await readJson(path).catch(() => 0)) || 0;
}

const rounded = (seconds: number) => Math.round(seconds * 1000) / 1000;
