/**
 * @file How every artifact reaches the disk: written beside, fsynced, renamed, so that a reader sees the old file or
 * the new one and a crash leaves neither half. Also content hashes, which manifests are made of.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { UnfoldError } from './errors.ts';
import { makeFolder } from './folders.ts';
import { partOf, removeParts } from './parts.ts';
import { parseJson, readText } from './read.ts';
import { besideFolder, targetOf } from './targets.ts';
import { assertMayPublish } from './write-guard.ts';

/** Paths that this process has written before: what dead ones left there is gone. */
const swept = new Set<string>();

/**
 * Writes `path` atomically: `write` fills a file beside it (parts.ts), which is fsynced and renamed; the folder is fsynced
 * too. Several processes may write the same path: each writes its own file, the last rename wins. What a crashed process
 * left is removed.
 * @throws UnfoldError `disk-full` when there is no room, `not-writable`; the old file, if any, is untouched.
 */
export async function writeAtomically(
  path: string,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const target = await targetOf(path);
  const part = partOf(target);
  try {
    await makeFolder(dirname(target));
    await sweepParts(target);
    const file = await open(part, 'w');
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await publish(part, target);
  } catch (error) {
    await rm(part, { force: true }).catch(() => undefined);
    throw explainDisk(error, path);
  }
}

/** Removes what dead processes left of `target`, once a process. */
export async function sweepParts(target: string): Promise<void> {
  if (!swept.has(target)) await removeParts(target, 'dead');
  swept.add(target);
}

/**
 * Gives a finished file, fsynced, its name, durably. `part` lies beside what the name leads to (targets.ts).
 * @throws UnfoldError `stopped` in a job that is another worker's by now; the file system's errors
 */
export async function publish(part: string, path: string): Promise<void> {
  assertMayPublish();
  const target = await targetOf(path);
  await rename(part, target);
  await syncFolder(dirname(target));
}

/**
 * Writes the folder `path` as one: `fill` fills another one beside it, which then takes the place of the one that is there.
 * @param parts what is removed of earlier attempts: see {@link removeParts}
 * @throws UnfoldError `disk-full`, `not-writable`; what `fill` throws: the folder stays as it was
 */
export async function writeFolder<T>(
  path: string,
  parts: 'dead' | 'all',
  fill: (part: string) => Promise<T>,
): Promise<T> {
  let part: string | undefined;
  try {
    const target = await targetOf(resolve(path));
    const name = await besideFolder(target);
    await removeParts(name, parts);
    part = partOf(name);
    await makeFolder(part);
    const result = await fill(part);
    await publishFolder(part, target);
    return result;
  } catch (error) {
    if (part) await rm(part, { recursive: true, force: true }).catch(() => undefined);
    throw explainDisk(error, path);
  }
}

async function publishFolder(part: string, target: string): Promise<void> {
  assertMayPublish();
  if (dirname(part) === target) return publishInto(part, target);
  await rm(target, { recursive: true, force: true });
  await publish(part, target);
}

/** The root of a disk stays; what it holds is replaced name by name. */
async function publishInto(part: string, target: string): Promise<void> {
  for (const name of await readdir(part)) {
    await rm(join(target, name), { recursive: true, force: true });
    await rename(join(part, name), join(target, name));
  }
  await rm(part, { recursive: true });
  await syncFolder(target);
}

/** Atomic write of one string or byte array. */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  await writeAtomically(path, (file) => file.writeFile(content));
}

/** Atomic write of a value as indented JSON with a final newline. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomically(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Reads JSON; a missing or malformed file is an UnfoldError that names it. `todo` says how such a file is made. */
export async function readJson(path: string, todo = 'make the file again'): Promise<unknown> {
  return parseJson(await readText(path, { expected: 'a JSON file', todo }), path, todo);
}

/** True if something is there. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** SHA-256 of a file's bytes, hex, read in pieces. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** SHA-256 of bytes or of a string's UTF-8, hex. */
export function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** SHA-256 of a JSON value with its keys in sorted order: equal settings have equal hashes. */
export function hashOf(value: unknown): string {
  return sha256(JSON.stringify(value, sortedKeys));
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

/** Makes a rename durable: the folder's own entry is fsynced. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Errors of places in which nothing can be written, whatever there is room for. */
const UNWRITABLE: Readonly<Record<string, string>> = {
  EACCES: 'no permission to write there',
  EPERM: 'it is not permitted to write there',
  EROFS: 'a read-only file system',
  ENOTDIR: 'a file where a folder has to be',
  EEXIST: 'a file where a folder has to be',
};

/** ENOSPC, EDQUOT and EFBIG become a lesson, and so does a place that cannot be written to; anything else passes through. */
export function explainDisk(error: unknown, path: string): unknown {
  const { code: given, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  const code = String(given);
  const known = Object.hasOwn(UNWRITABLE, code) ? UNWRITABLE[code] : undefined;
  // Of a folder whose parent is there (folders.ts): a file system of the system's own, such as /proc.
  const meaning = code === 'ENOENT' && syscall === 'mkdir' ? 'no folder can be made there' : known;
  if (meaning !== undefined)
    return new UnfoldError('not-writable', {
      where: path,
      expected: 'a place that can be written to',
      found: `${code}: ${meaning}`,
      todo: 'choose another folder, or mend its permissions',
      cause: error,
    });
  if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'EFBIG') return error;
  return new UnfoldError('disk-full', {
    where: path,
    expected: 'room to write the file',
    found: `${code}: the disk, quota or file-size limit is reached`,
    todo: 'free space or choose another --out, then run the same command again: finished files are kept and skipped',
    cause: error,
  });
}
