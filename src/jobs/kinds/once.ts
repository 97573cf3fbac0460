/**
 * @file Makes a job of a function that leaves no manifest of its own: one process at a time; when its files are there, a
 * small file beside them says what they were made from; and when that is what is asked for, nothing is done again.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { alsoStoppedBy, type StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { exists, hashOf } from '../../files.ts';
import { damageOf, type FileRecord, recordFiles } from '../../inventory.ts';
import { lockPath } from '../../lock.ts';
import { readSealed, writeSealed } from '../../seal.ts';
import { hashInputs } from './inputs.ts';

/** The manifest: `job.json`, or `FILE.job.json` beside a file that a job was to make. */
export interface JobFile {
  kind: 'unfold.job-file/1';
  stage: string;
  /** Hash of the settings. */
  settings: string;
  /** Path → what was there (see inputs.ts). */
  inputs: Record<string, string>;
  /** Files made, relative; those of earlier versions say how many bytes each has. */
  files: FileRecord[] | Record<string, number>;
  result: Record<string, unknown>;
}

/** What is to be made once. */
export interface OnceOptions {
  stage: string;
  settings: unknown;
  out: string;
  /** Name of the manifest. */
  manifest: string;
  /** Absolute paths that are read. */
  inputs: readonly string[];
  /** Names of the files that are made, relative to `out`. */
  files: readonly string[];
}

/**
 * Runs `make` unless its result is there.
 * @returns the result, with `skipped`
 * @throws UnfoldError `locked`; `settings-differ` when the files are those of other settings
 */
export async function once(
  options: OnceOptions,
  context: StageContext,
  make: (context: StageContext) => Promise<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  const { stage, out, manifest, files } = options;
  const lock = await lockPath(join(out, `.lock-${manifest}`), context);
  try {
    const settings = hashOf(options.settings);
    const inputs = await hashInputs(options.inputs);
    const finished = await finishedJob(options, { settings, inputs });
    if (finished) return { ...finished, skipped: true };
    const result = await make(alsoStoppedBy(lock.signal, context));
    lock.signal.throwIfAborted();
    const made = await recordFiles(out, files);
    const file: JobFile = { kind: 'unfold.job-file/1', stage, settings, inputs, files: made, result };
    await writeSealed(join(out, manifest), file);
    return { ...result, skipped: false };
  } finally {
    await lock.release();
  }
}

/** Whether `make` would be skipped. Nothing is locked, so it may have become true since. */
export async function isDone(options: OnceOptions): Promise<boolean> {
  const settings = hashOf(options.settings);
  for (const path of options.inputs) if (!(await exists(path))) return false;
  return (await finishedJob(options, { settings, inputs: await hashInputs(options.inputs) })) !== undefined;
}

async function finishedJob(
  { stage, out, manifest }: OnceOptions,
  wanted: Pick<JobFile, 'settings' | 'inputs'>,
): Promise<Record<string, unknown> | undefined> {
  const path = join(out, manifest);
  if (!(await exists(path))) return undefined;
  const found = (await readSealed(path, `remove ${path} and run the job again`)) as JobFile;
  if (found.stage !== stage || found.settings !== wanted.settings) {
    throw new UnfoldError('settings-differ', {
      where: path,
      expected: `the ${stage} that was asked for`,
      found: `a finished ${found.stage} with other settings`,
      todo: 'give another --out, or remove that file to make the results again',
    });
  }
  if (hashOf(found.inputs) !== hashOf(wanted.inputs)) return undefined;
  return (await isThere(out, found.files)) ? found.result : undefined;
}

async function isThere(out: string, files: JobFile['files']): Promise<boolean> {
  if (Array.isArray(files)) return (await damageOf(out, files)).length === 0;
  for (const [name, bytes] of Object.entries(files)) {
    const size = await stat(join(out, name)).then(
      (stats) => stats.size,
      () => undefined,
    );
    if (size !== bytes) return false;
  }
  return true;
}
