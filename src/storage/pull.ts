/**
 * @file Fetches files of a store into a local folder, several at a time: what is there and has the same size and hash is
 * not fetched again, and each file appears whole or not at all.
 */
import { createHash } from 'node:crypto';
import { open, rename, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { sha256File, sweepParts, syncFolder } from '../files.ts';
import { makeFolder } from '../folders.ts';
import { partOf } from '../parts.ts';
import { targetOf } from '../targets.ts';
import { damaged, explainFile } from './lessons.ts';
import { fileAt, isPassing, type LocalFile } from './local-folder.ts';
import { checkName } from './names.ts';
import { inSteps, withoutHalfCheckpoints } from './order.ts';
import { inParallel } from './parallel.ts';
import type { SyncRecord } from './record.ts';
import type { ArtifactStore, StoredFile } from './store.ts';
import { type Copied, type SyncOptions, Tally } from './sync.ts';

const AT_ONCE = 6;

/** A stored file, and its name below the prefix. */
interface Wanted extends StoredFile {
  stored: string;
}

/**
 * Makes `dir` hold what the store has below `prefix`. Files that are only in `dir` stay.
 * @throws UnfoldError `disk-full` (before anything is fetched, where the file system tells), `damaged`, `missing-file`,
 *   `storage`, `bad-storage`; the signal's reason. What was fetched stays, and is not fetched again.
 */
export async function pull(
  store: ArtifactStore,
  prefix: string,
  dir: string,
  options: SyncOptions,
  context: StageContext,
): Promise<Copied> {
  const record = await options.record;
  const { there, missing } = await compare(store, await listed(store, prefix, options), dir, record, context);
  await checkRoom(dir, missing);
  const tally = new Tally(options.label ?? 'pull', there, missing, context);
  try {
    for (const step of inSteps(missing)) {
      await inParallel(step, AT_ONCE, async (file, stop) => {
        context.signal.throwIfAborted();
        await fetchFile(store, file, dir, { record, tally, signal: AbortSignal.any([stop, context.signal]) });
      });
    }
    return tally.result();
  } finally {
    tally.end();
    await record?.save();
  }
}

/** What is below the prefix and wanted, under its name below the prefix. */
export async function listed(
  store: ArtifactStore,
  prefix: string,
  { want = () => true }: Pick<SyncOptions, 'want'>,
): Promise<Wanted[]> {
  const files: Wanted[] = [];
  for await (const file of store.list(prefix)) {
    const name = prefix === '' ? file.name : file.name.slice(prefix.length + 1);
    if (name === '' || isPassing(name)) continue;
    // A bucket may hold names of others' making, and one of them must not lead out of the folder.
    checkName(name, store.url);
    if (want(name)) files.push({ ...file, name, stored: file.name });
  }
  return withoutHalfCheckpoints(files);
}

async function compare(
  store: ArtifactStore,
  files: readonly Wanted[],
  dir: string,
  record: SyncRecord | undefined,
  { signal }: StageContext,
): Promise<{ there: Wanted[]; missing: Wanted[] }> {
  const there: Wanted[] = [];
  const missing: Wanted[] = [];
  await inParallel(files, AT_ONCE, async (file) => {
    signal.throwIfAborted();
    const local = await fileAt(dir, file.name);
    const same = local !== undefined && (await isEqual(store, file, local, record));
    (same ? there : missing).push(file);
  });
  return { there, missing };
}

async function isEqual(
  store: ArtifactStore,
  file: Wanted,
  local: LocalFile,
  record: SyncRecord | undefined,
): Promise<boolean> {
  if (local.bytes !== file.bytes) return false;
  if (record?.isSame(local, file)) return true;
  const sha256 = await (record?.sha256(local) ?? sha256File(local.path));
  if (sha256 !== (await storedHash(store, file.stored))) return false;
  record?.note(local, sha256, file.version);
  return true;
}

/** The hash a store was told, or that of the file where it can be read like a local one. */
export async function storedHash(store: ArtifactStore, name: string): Promise<string | undefined> {
  const file = await store.stat(name);
  if (!file || file.sha256 !== undefined) return file?.sha256;
  return store.localPath === undefined ? undefined : sha256File(join(store.localPath, name));
}

interface How {
  record: SyncRecord | undefined;
  tally: Tally;
  signal: AbortSignal;
}

async function fetchFile(store: ArtifactStore, file: Wanted, dir: string, how: How): Promise<void> {
  const path = join(dir, file.name);
  const target = await targetOf(path);
  const part = partOf(target);
  try {
    await makeFolder(dirname(target));
    await sweepParts(target);
    const { sha256, bytes } = await receive(await store.read(file.stored), part, how);
    if (bytes !== file.bytes && (await hasChanged(store, file)) === false)
      throw damaged(store.url, file.stored, `${file.bytes} bytes`, `${bytes} bytes`);
    await rename(part, target);
    await syncFolder(dirname(target));
    const local = await fileAt(dir, file.name);
    if (local && bytes === file.bytes) how.record?.note(local, sha256, file.version);
  } catch (error) {
    throw explainFile(error, path);
  } finally {
    await rm(part, { force: true }).catch(() => undefined);
  }
}

/** True if the file was replaced since it was listed. */
async function hasChanged(store: ArtifactStore, file: Wanted): Promise<boolean> {
  return (await store.stat(file.stored))?.version !== file.version;
}

async function receive(stream: Readable, part: string, { tally, signal }: How) {
  const stop = () => stream.destroy(signal.reason as Error);
  // A stream that is stopped before anybody reads it throws at the whole process otherwise; readers get the error anyway.
  stream.on('error', () => {});
  signal.addEventListener('abort', stop, { once: true });
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    signal.throwIfAborted();
    const file = await open(part, 'wx');
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        hash.update(chunk);
        await file.writeFile(chunk);
        bytes += chunk.length;
        tally.add(chunk.length);
      }
      signal.throwIfAborted();
      await file.sync();
    } finally {
      await file.close();
    }
    return { sha256: hash.digest('hex'), bytes };
  } finally {
    signal.removeEventListener('abort', stop);
    stream.destroy();
  }
}

/** Refuses what cannot fit before an hour is spent on finding that out. */
async function checkRoom(dir: string, files: readonly StoredFile[]): Promise<void> {
  const needed = files.reduce((sum, { bytes }) => sum + bytes, 0);
  if (needed === 0) return;
  await makeFolder(dir).catch((error: unknown) => {
    throw explainFile(error, dir);
  });
  const { bavail, bsize } = await statfs(dir);
  if (bavail * bsize >= needed) return;
  throw new UnfoldError('disk-full', {
    where: dir,
    expected: `${needed} bytes of room for ${files.length} files`,
    found: `${bavail * bsize} bytes`,
    todo: 'free space or choose another folder (unfold worker --scratch); what was copied before stays',
  });
}
