/**
 * @file The paths of a direct job: made absolute when it is queued, since a worker stands elsewhere; named, so that a
 * machine that does not see them says so; and, for jobs whose functions keep no manifest, told apart by content.
 */
import { readdir, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { UnfoldError } from '../../errors.ts';
import { exists, hashOf, sha256File } from '../../files.ts';
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

/** Up to here a file counts by content, above by size and time of change. */
const HASHED_BYTES = 8 * 2 ** 20;

/** A hash for each path that tells whether what is there has changed; cheap also where gigabytes are. */
export async function hashInputs(paths: readonly string[]): Promise<Record<string, string>> {
  const entries = paths.map(async (path) => [path, hashOf(await factsAt(path))] as const);
  return Object.fromEntries(await Promise.all(entries));
}

async function factsAt(path: string): Promise<unknown> {
  const found = await stat(path);
  if (!found.isDirectory()) return factsOf(path, found);
  const names = await readdir(path, { recursive: true });
  const facts: [string, unknown][] = [];
  for (const name of names.filter((name) => !/(^|\/)\./.test(name)).sort()) {
    const place = join(path, name);
    const of = await stat(place).catch(() => undefined);
    if (of?.isFile()) facts.push([name, await factsOf(place, of)]);
  }
  return facts;
}

async function factsOf(path: string, { size, mtimeMs }: { size: number; mtimeMs: number }) {
  return size <= HASHED_BYTES ? sha256File(path) : [size, mtimeMs];
}
