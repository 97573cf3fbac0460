/**
 * @file Gives a stage local folders to work in, wherever its artifacts live. On a path it works in place. On an object
 * store, its inputs and its own unfinished work are fetched into a scratch folder, finished files are pushed while it
 * works, and what is left at the end, `stage.json` last.
 */
import { join } from 'node:path';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { makeFolder } from '../folders.ts';
import { assertMayPublish } from '../write-guard.ts';
import { storeOf } from './open.ts';
import { checkpointOf } from './order.ts';
import { OwnFolder } from './own-folder.ts';
import { listed } from './pull.ts';
import { SyncRecord } from './record.ts';
import { Scratch } from './scratch.ts';
import type { ArtifactStore } from './store.ts';
import { pull } from './sync.ts';
import { isRemote } from './url.ts';

/** What is to be worked on. */
export interface WorkspaceOptions {
  /** The run's folder: a path or s3://BUCKET/PREFIX. */
  out: string;
  /** The stage's own folder in it: `train-1a2b3c4d`. */
  dir: string;
  /** Folders of finished stages that it reads. Their checkpoints are not fetched: what a stage leaves is in `final`. */
  inputs?: readonly string[];
  /** Local folder for copies; several processes of one machine may share it. */
  scratch: string;
  /**
   * Only for one part of a stage that others work on as well: the files (relative to `dir`, with slashes) that this part
   * reads and writes. Others are neither fetched nor pushed nor removed. Absent: all.
   */
  own?: (name: string) => boolean;
  /** Seconds between pushes while it works; 30. */
  pushSeconds?: number;
}

/** Local paths. */
export interface Workspace {
  /** Parent of the others. */
  out: string;
  dir: string;
  /** By the names in {@link WorkspaceOptions.inputs}. */
  inputs: Record<string, string>;
}

const PUSH_SECONDS = 30;

/**
 * Runs `use` on local folders; what it returns, or throws, is returned or thrown after the last push. Stopped by the
 * signal, what is finished is pushed all the same; nothing is once the write guard refuses.
 * @throws UnfoldError `missing-file` (an input is not finished), `storage`, `bad-storage`, `disk-full`, `damaged`
 */
export async function withWorkspace<T>(
  options: WorkspaceOptions,
  context: StageContext,
  use: (workspace: Workspace) => Promise<T>,
): Promise<T> {
  if (!isRemote(options.out)) return use(workspaceIn(options.out, options));
  const store = await storeOf(options.out);
  const scratch = await Scratch.open(options.scratch, store.url, context);
  const { dir, inputs = [] } = options;
  const releases: (() => Promise<void>)[] = [];
  try {
    for (const folder of new Set([dir, ...inputs])) releases.push(await scratch.use(folder));
    for (const folder of inputs) await fetchInput(store, folder, scratch, context);
    return await work(store, scratch, options, context, use);
  } finally {
    for (const release of releases) await release();
    await scratch.makeRoom(0).catch((error: unknown) => context.warn(`scratch: ${messageOf(error)}`));
  }
}

function workspaceIn(out: string, { dir, inputs = [] }: WorkspaceOptions): Workspace {
  return {
    out,
    dir: join(out, dir),
    inputs: Object.fromEntries(inputs.map((name) => [name, join(out, name)])),
  };
}

async function fetchInput(
  store: ArtifactStore,
  folder: string,
  scratch: Scratch,
  context: StageContext,
): Promise<void> {
  const want = (name: string) => checkpointOf(name) === undefined;
  const files = await listed(store, folder, { want });
  if (!files.some(({ name }) => name === 'stage.json')) throw unfinishedInput(store.url, folder);
  await scratch.alone(folder, async () => {
    const record = await SyncRecord.open(scratch.recordOf(folder));
    const dir = join(scratch.run, folder);
    const known = new Map(record.versions());
    const missing = files.filter(({ name, version }) => known.get(name) !== version);
    await scratch.makeRoom(missing.reduce((sum, { bytes }) => sum + bytes, 0));
    await pull(store, folder, dir, { want, record, label: `fetch ${folder}` }, context);
  });
}

async function work<T>(
  store: ArtifactStore,
  scratch: Scratch,
  options: WorkspaceOptions,
  context: StageContext,
  use: (workspace: Workspace) => Promise<T>,
): Promise<T> {
  const { dir: folder, own = () => true, pushSeconds = PUSH_SECONDS } = options;
  const workspace = workspaceIn(scratch.run, options);
  const recordPath = scratch.recordOf(folder);
  const mine = await OwnFolder.open({ store, folder, dir: workspace.dir, recordPath, own });
  await scratch.alone(folder, () => mine.fetch(context));
  await makeFolder(workspace.dir);
  await scratch.setUnpushed(folder, true);
  const pushing = keepPushing(mine, pushSeconds, context);
  let failure: { error: unknown } | undefined;
  let result: T | undefined;
  try {
    result = await use(workspace);
  } catch (error) {
    failure = { error };
  }
  await pushing.stop();
  if (await lastPush(mine, context, failure !== undefined)) await scratch.setUnpushed(folder, false);
  if (failure) throw failure.error;
  return result as T;
}

/**
 * After a failure the failure is what has to be told: one of the push is a warning then.
 * @returns false if there is work left here that the store does not have
 */
async function lastPush(mine: OwnFolder, context: StageContext, hasFailed: boolean): Promise<boolean> {
  if (!mayPublish()) {
    context.warn('the job may have been taken over by another worker: nothing more is stored');
    return true;
  }
  try {
    // The signal may be why we are here.
    const patient: StageContext = { ...context, signal: new AbortController().signal };
    if (!(await mine.pushAll(patient)))
      context.note('another machine had finished this stage: its files stay');
    return true;
  } catch (error) {
    if (!hasFailed) throw error;
    context.warn(`what was done could not be stored and stays in the scratch folder: ${messageOf(error)}`);
    return false;
  }
}

/** Pushes every so often; a store that is away for a while stops no work. */
function keepPushing(mine: OwnFolder, seconds: number, context: StageContext): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const signal = AbortSignal.any([stopping.signal, context.signal]);
  let current = Promise.resolve();
  let isBusy = false;
  const tick = async () => {
    if (isBusy || signal.aborted) return;
    isBusy = true;
    try {
      await mine.pushUnfinished(signal);
    } catch (error) {
      if (!signal.aborted) context.warn(`not stored yet, tried again in ${seconds} s: ${messageOf(error)}`);
    } finally {
      isBusy = false;
    }
  };
  const timer = setInterval(() => {
    if (!isBusy) current = tick();
  }, seconds * 1000);
  return {
    async stop() {
      clearInterval(timer);
      stopping.abort();
      await current;
    },
  };
}

function mayPublish(): boolean {
  try {
    assertMayPublish();
    return true;
  } catch {
    return false;
  }
}

function unfinishedInput(url: string, folder: string): UnfoldError {
  return new UnfoldError('missing-file', {
    where: `${url}: ${folder}/stage.json`,
    expected: 'a finished stage',
    found: 'no such file',
    todo: 'queue the pipeline again: what is missing is made',
  });
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
