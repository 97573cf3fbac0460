/**
 * @file The paths of a direct job: made absolute when it is queued, since a worker stands elsewhere; named, so that a
 * machine that does not see them says so; and, for jobs whose functions keep no manifest, told apart by content.
 */
import { readdir, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { Digests } from '../../digests.ts';
import { UnfoldError } from '../../errors.ts';
import { exists, hashOf } from '../../files.ts';
import { resolvePath, searchPlaces } from '../../pipeline/paths.ts';
import { locateDataset } from '../../text/dataset.ts';
import { isGlob } from '../../text/glob.ts';

/**
 * A folder or file that a job reads; it may not be there yet, as another job makes it.
 * @throws UnfoldError `bad-setting` for the URL of a store
 */
export function absolutePath(path: string): string {
  if (!/^\w+:\/\//.test(path)) return resolve(path);
  throw new UnfoldError('bad-setting', {
    where: path,
    expected: 'a path that the worker’s machine sees',
    found: 'the URL of a store',
    todo: `copy it first: unfold copy ${path} FOLDER; the stages of a pipeline read stores themselves`,
  });
}

/** A model: a folder, looked for where pipelines look; anything else is the id of a hub and stays. */
export function absoluteModel(dirOrId: string): string {
  const found = resolvePath(dirOrId, searchPlaces());
  return /^\.{1,2}(\/|$)/.test(found) ? resolve(found) : found;
}

/** A dataset: a path, a pattern of paths, or a name. @throws UnfoldError `no-dataset` for what is no absolute path and not here */
export async function absoluteDataset(dataset: string): Promise<string> {
  if (isAbsolute(dataset)) return dataset;
  if (isGlob(dataset) && !(await exists(dataset))) return resolve(dataset);
  return resolve(await locateDataset(dataset));
}

/** Those of `paths` that a machine has to see: of a pattern the folder, of a model of the hub nothing. */
export function visiblePaths(...paths: (string | undefined)[]): string[] {
  return paths
    .filter((path): path is string => path !== undefined && isAbsolute(path))
    .map((path) => path.replace(/\/[^/]*[*?{].*$/, '') || '/');
}

/**
 * A hash for each path that tells whether what is there has changed: of the bytes, remembered from one job to the next
 * (see digests.ts), so that gigabytes are read once.
 */
export async function hashInputs(paths: readonly string[]): Promise<Record<string, string>> {
  const digests = await Digests.open();
  const hashes: Record<string, string> = {};
  for (const path of paths) hashes[path] = hashOf(await factsAt(path, digests));
  return hashes;
}

async function factsAt(path: string, digests: Digests): Promise<unknown> {
  if (!(await stat(path)).isDirectory()) return (await digests.of([path]))[0];
  const names = (await readdir(path, { recursive: true })).filter((name) => !/(^|\/)\./.test(name)).sort();
  const files: string[] = [];
  for (const name of names) {
    const found = await stat(join(path, name)).catch(() => undefined);
    if (found?.isFile()) files.push(name);
  }
  const hashes = await digests.of(files.map((name) => join(path, name)));
  return files.map((name, i) => [name, hashes[i]]);
}
