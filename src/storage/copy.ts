/**
 * @file Copies what is in one place to another: a folder to a bucket, a bucket to a folder, a folder to a folder. What is
 * there already is not copied again.
 */
import { stat } from 'node:fs/promises';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { sweepLeftovers } from '../leftovers.ts';
import { damagedAgainstManifests } from './against-manifests.ts';
import { openStore } from './open.ts';
import { restorePointers } from './pointers.ts';
import { SyncRecord } from './record.ts';
import { type Copied, pull, push } from './sync.ts';
import { isRemote, normalisePlace } from './url.ts';

/** What was copied from where to where. */
export interface CopyResult extends Copied {
  from: string;
  to: string;
  /** Symbolic links of a run's folder that were made again: `harvest`, `train` … */
  links: string[];
  /** Files that were copied as they are, and are not what the manifests beside them say. */
  damaged: string[];
}

/**
 * Copies all files of a place. Files that are only at the target stay. What is damaged by its own manifests
 * is copied and named.
 * @throws UnfoldError `missing-file` (nothing there), `bad-setting`, and those of pull and push
 */
export async function copyPlace(from: string, to: string, context: StageContext): Promise<CopyResult> {
  refuseSenseless(from, to);
  const [source, target] = [normalisePlace(from), normalisePlace(to)];
  const record = await SyncRecord.open();
  const copied = await (isRemote(from)
    ? fetchPlace(from, target, record, context)
    : sendPlace(source, to, record, context));
  const links = isRemote(to) ? [] : await restorePointers(target);
  if (!isRemote(to)) await sweepLeftovers(target);
  const damaged = await damagedAgainstManifests(isRemote(from) ? target : source, record, context);
  const left_out = copied.left_out.filter((name) => !links.includes(name));
  return { ...copied, left_out, from: source, to: target, links, damaged };
}

async function fetchPlace(
  from: string,
  dir: string,
  record: SyncRecord,
  context: StageContext,
): Promise<Copied> {
  const store = await openStore(from);
  try {
    const copied = await pull(store, '', dir, { label: 'copy', record }, context);
    if (copied.files === 0) throw nothingThere(store.url);
    return copied;
  } finally {
    store.close();
  }
}

async function sendPlace(
  dir: string,
  to: string,
  record: SyncRecord,
  context: StageContext,
): Promise<Copied> {
  const stats = await stat(dir).catch(() => undefined);
  if (!stats?.isDirectory()) throw nothingThere(dir, stats ? 'a file' : 'no such folder');
  const store = await openStore(to);
  try {
    const copied = await push(store, dir, '', { label: 'copy', record }, context);
    if (copied.files === 0) throw nothingThere(dir);
    return copied;
  } finally {
    store.close();
  }
}

function refuseSenseless(from: string, to: string): void {
  const both = isRemote(from) && isRemote(to);
  const [a, b] = [`${normalisePlace(from)}/`, `${normalisePlace(to)}/`];
  const within = !isRemote(from) && !isRemote(to) && (a.startsWith(b) || b.startsWith(a));
  if (!both && !within) return;
  throw new UnfoldError('bad-setting', {
    where: `unfold copy ${from} ${to}`,
    expected: 'a folder and an s3:// URL, in either order, or two folders apart from one another',
    found: both ? 'two URLs' : 'one folder within the other',
    todo: both ? 'copy to a folder first, and from there' : 'choose another target',
  });
}

function nothingThere(where: string, found = 'no file'): UnfoldError {
  return new UnfoldError('missing-file', {
    where,
    expected: 'files to copy',
    found,
    todo: 'check the place: what comes first is copied to what comes second',
  });
}
