/**
 * @file Does the work of a stage's job: looks first whether this machine sees what the job was queued on, then shares the
 * stage out, does a part of it, or runs it.
 */
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import {
  finishedManifest,
  pointAt,
  runStage,
  runStagePart,
  type StageRun,
  stageDirectory,
} from '../pipeline/run-stage.ts';
import { keyOf } from '../pipeline/run-stages.ts';
import type { Json, Stage, StageInput, StageManifest } from '../pipeline/stage.ts';
import { stageNamed, stages } from '../pipeline/stages/index.ts';
import { isRemote, joinPlace } from '../storage/url.ts';
import { type Workspace, withWorkspace } from '../storage/workspace.ts';
import { adopt, homeOf } from './elsewhere.ts';
import type { ExecuteOptions } from './execute.ts';
import { MAX_RESULT_BYTES } from './kinds/kind.ts';
import type { StageJob } from './message.ts';
import type { JobOutcome } from './protocol.ts';
import { storedFinish } from './stored-stage.ts';
import { assertOut, assertVisible, differencesOf, inputsOf } from './visible.ts';

/** Parts of a stage unless the message says how many. */
const PARTS = 16;

/** See executeJob. */
export async function executeStage(
  message: StageJob,
  { scratch }: ExecuteOptions,
  context: StageContext,
): Promise<JobOutcome> {
  const { stage, settings } = checked(message);
  await assertOut(message.out);
  const before = await finishedBefore(message, stage, settings);
  if (before) return done(before.result, true);
  await assertVisible(stage.reads?.(settings) ?? [], `what ${stage.name} reads`);
  const identity = await sameIdentity(message, stage, settings);
  const inputs = await inputsOf(message, stage.needs);
  const home = await homeOf(message, stage);
  const job: Job = { message, home, stage, settings, identity, inputs, scratch };
  if (message.part) return runPart(job, message.part, context);
  const adopted = await adoptInto(job, context);
  if (adopted) return done(adopted.result, true);
  if (message.phase === 'split' && stage.split) {
    const parts = await partsOf(job, context);
    if (parts.length > 1) return { type: 'split', parts };
  }
  return runWhole(job, context);
}

interface Job {
  message: StageJob;
  /** Run directory in which the work is done; the message's own, or an earlier one with the same stage. */
  home: string;
  stage: Stage;
  settings: unknown;
  identity: Json;
  inputs: Record<string, StageInput>;
  scratch: string;
}

/** The stage and its settings. @throws UnfoldError `bad-job` */
function checked({ stage: name, version, settings }: StageJob): { stage: Stage; settings: unknown } {
  const stage = stageNamed(name);
  if (!stage) throw badJob(`stage ${name}`, `one of ${Object.keys(stages).join(', ')}`, name);
  if (version !== stage.version)
    throw badJob(`stage ${name}: version`, `${stage.version}, which this worker has`, String(version));
  const parsed = stage.settings.safeParse(settings);
  if (parsed.success) return { stage, settings: parsed.data };
  const [issue] = parsed.error.issues;
  throw badJob(
    `stage ${name}: settings.${issue!.path.join('.')}`,
    'settings that the stage knows',
    issue!.message,
  );
}

function badJob(where: string, expected: string, found: string): UnfoldError {
  const todo = 'queue the work again with unfold enqueue, by the same version of Unfold that the worker has';
  return new UnfoldError('bad-job', { where: `a message from the queue: ${where}`, expected, found, todo });
}

const folderOf = (name: string, key: string) => `${name}-${key.slice(0, 8)}`;

async function finishedBefore(
  { out, key }: StageJob,
  stage: Stage,
  settings: unknown,
): Promise<StageManifest | undefined> {
  const folder = folderOf(stage.name, key);
  if (isRemote(out)) return storedFinish(out, folder, key);
  const manifest = await finishedManifest({ stage, settings }, joinPlace(out, folder), key);
  if (manifest) await pointAt(out, stage.name, joinPlace(out, folder));
  return manifest;
}

/** What determines the stage's files, as this machine sees it. @throws UnfoldError `input-differs`, `bad-job` */
async function sameIdentity(
  { key, inputs, identity: then }: StageJob,
  stage: Stage,
  settings: unknown,
): Promise<Json> {
  const identity = await stage.identity(settings);
  if (keyOf(stage, identity, inputs) === key) return identity;
  if (then !== undefined && keyOf(stage, then as Json, inputs) !== key)
    throw badJob(`stage ${stage.name}: key`, 'the hash of what the message says', `${key.slice(0, 16)}…`);
  throw new UnfoldError('input-differs', {
    where: `${stage.name}: ${(stage.reads?.(settings) ?? []).join(', ') || 'its settings'}`,
    expected: 'the files that were there when the job was queued',
    found: `others: ${differencesOf(identity, then as Json | undefined).join('; ')}`,
    todo: 'the files have changed, or the same path leads to others on this machine: put the old ones back and unfold jobs retry, or queue the work again',
  });
}

async function partsOf(job: Job, context: StageContext): Promise<StageJob[]> {
  const { message, stage, scratch, settings } = job;
  const dir = folderOf(stage.name, message.key);
  // Where files have to be copied, none is: parts look for themselves what is there already.
  const options = { out: job.home, dir, scratch, own: () => false };
  const parts = await withWorkspace(options, context, (workspace) =>
    stage.split!.parts({ settings, dir: workspace.dir, inputs: job.inputs }, message.parts ?? PARTS, context),
  );
  return parts.map(({ name, part }) => ({
    ...message,
    part: { name, of: part as NonNullable<StageJob['part']>['of'] },
  }));
}

async function runPart(
  job: Job,
  { name, of }: NonNullable<StageJob['part']>,
  context: StageContext,
): Promise<JobOutcome> {
  const { stage } = job;
  const part = of as Json;
  if (!stage.split) throw badJob(`stage ${stage.name}: part`, 'none: it is run in one go', name);
  const owns = (file: string) => file === `.seconds-${name}.json` || stage.split!.owns(part, file);
  const result = await within(job, owns, context, (run) => runStagePart(run, { name, part }, context));
  return done(result, false);
}

async function runWhole(job: Job, context: StageContext): Promise<JobOutcome> {
  const { manifest, skipped } = await within(job, undefined, context, async (run, workspace) => {
    const point = () => pointAt(workspace.out, run.stage.name, run.dir);
    return runStage(run, context, isRemote(job.home) || job.home !== job.message.out ? undefined : point);
  });
  if (job.home !== job.message.out) await adoptInto(job, context);
  return done(manifest.result, skipped);
}

/** Links what another run directory has. */
async function adoptInto(
  { message, stage, settings }: Job,
  context: StageContext,
): Promise<StageManifest | undefined> {
  const adopted = await adopt(message, stage, settings, context);
  if (adopted) await pointAt(message.out, stage.name, stageDirectory(message.out, stage.name, message.key));
  return adopted;
}

/** Runs `use` on local folders of the stage and of those that it reads. */
function within<T>(
  { message, home, stage, settings, identity, inputs, scratch }: Job,
  own: ((file: string) => boolean) | undefined,
  context: StageContext,
  use: (run: StageRun, workspace: Workspace) => Promise<T>,
): Promise<T> {
  const { key } = message;
  const folders = Object.entries(inputs).map(([name, input]) => [name, folderOf(name, input.key)] as const);
  const options = {
    out: home,
    dir: folderOf(stage.name, key),
    inputs: folders.map(([, folder]) => folder),
    scratch,
    ...(own && { own }),
  };
  return withWorkspace(options, context, (workspace) => {
    const local = folders.map(([name, folder]) => [
      name,
      isRemote(home) ? { ...inputs[name]!, dir: workspace.inputs[folder]! } : inputs[name]!,
    ]);
    const reader = {
      ...(message.cwd !== undefined && { cwd: message.cwd }),
      ...(isRemote(home) && { url: home }),
    };
    const run = {
      stage,
      settings,
      key,
      identity,
      dir: workspace.dir,
      inputs: Object.fromEntries(local),
      reader,
    };
    return use(run, workspace);
  });
}

/** A result in the queue is for reading; stage.json has all of it. */
function done(result: StageManifest['result'], skipped: boolean): JobOutcome {
  const small = (value: unknown) => value === null || typeof value !== 'object';
  const fits = Buffer.byteLength(JSON.stringify(result)) <= MAX_RESULT_BYTES;
  const kept = fits ? result : Object.fromEntries(Object.entries(result).filter(([, value]) => small(value)));
  return { type: 'done', result: kept, skipped };
}
