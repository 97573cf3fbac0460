/**
 * @file Below which places a worker writes. A message comes from whoever may write to Redis, and names the folder that its
 * files go to: a worker makes files below its roots only, by real path, whatever links and `..` the name goes through.
 * What a job reads is not limited: models, texts and coders lie anywhere that the worker's user may read.
 */
import { lstat, realpath } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, sep } from 'node:path';
import { UnfoldError } from '../errors.ts';
import { stageDirectory } from '../pipeline/run-stage.ts';
import { formatS3, isRemote, normalisePlace, parseS3 } from '../storage/url.ts';
import type { JobMessage } from './message.ts';

/** Places as they are compared: real absolute paths, and URLs in their shortest form. */
export type Roots = readonly string[];

/** Real paths of the places that were named; a folder need not be there yet. @throws UnfoldError `bad-setting` */
export async function resolveRoots(places: readonly string[]): Promise<Roots> {
  return Promise.all(
    places.map(async (place) => {
      if (isRemote(place)) return normalisePlace(place);
      const path = await realPlace(normalisePlace(place));
      if (path !== undefined) return path;
      throw new UnfoldError('bad-setting', {
        where: `--root ${place}`,
        expected: 'a folder',
        found: 'a link that leads nowhere',
        todo: 'name the folder itself',
      });
    }),
  );
}

/**
 * Holds the places to which a job would write against the roots; nothing has been made yet.
 * @throws UnfoldError `outside-root`
 */
export async function assertWithinRoots(message: JobMessage, roots: Roots): Promise<void> {
  const { out } = message;
  const places = message.type === 'stage' && !isRemote(out) ? [out, ownFolder(message)] : [out];
  for (const place of places) if (!(await isWithin(place, roots))) throw outside(place, roots);
}

/** The message without other places of the same work that the worker must not write to. */
export async function withinRoots(message: JobMessage, roots: Roots): Promise<JobMessage> {
  if (message.type !== 'stage' || message.elsewhere === undefined) return message;
  const kept: string[] = [];
  for (const dir of message.elsewhere) if (await isWithin(dir, roots)) kept.push(dir);
  return { ...message, elsewhere: kept };
}

/** True if files may be made at a place. */
export async function isWithin(place: string, roots: Roots): Promise<boolean> {
  if (isRemote(place)) return roots.some((root) => isRemote(root) && holdsRemote(root, place));
  // Of a name with "..", a link decides where it leads.
  if (!place.startsWith('/') || place.split('/').includes('..') || place.includes('\0')) return false;
  const real = await realPlace(place);
  return real !== undefined && roots.some((root) => !isRemote(root) && holds(root, real));
}

const ownFolder = ({ out, stage, key }: { out: string; stage: string; key: string }) =>
  stageDirectory(out, stage, key);

const holds = (root: string, path: string) =>
  path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);

/** The same bucket of the same server, and a prefix below. */
function holdsRemote(root: string, place: string): boolean {
  const [a, b] = [root, place].map(parseS3) as [ReturnType<typeof parseS3>, ReturnType<typeof parseS3>];
  if (a.bucket !== b.bucket || a.endpoint !== b.endpoint) return false;
  return a.prefix === '' || b.prefix === a.prefix || b.prefix.startsWith(`${a.prefix}/`);
}

/** Where a path leads, the part of it that is there by its real path; undefined for a link that leads nowhere. */
async function realPlace(path: string): Promise<string | undefined> {
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => error);
  if (typeof real === 'string') return real;
  if (real.code !== 'ENOENT' || dirname(path) === path) return undefined;
  const isLink = await lstat(path).then(
    () => true,
    () => false,
  );
  if (isLink) return undefined;
  const above = await realPlace(dirname(path));
  return above === undefined ? undefined : join(above, basename(path));
}

function outside(place: string, roots: Roots): UnfoldError {
  const named = isRemote(place) ? formatS3({ ...parseS3(place) }) : place;
  return new UnfoldError('outside-root', {
    where: named,
    expected: `a place below ${roots.join(' or ')}, where this worker (${hostname()}) may write`,
    found: `${named}, outside of that`,
    todo: `if it is meant to go there: start the worker with --root '${named}' (or a folder above it), then unfold jobs retry`,
  });
}
