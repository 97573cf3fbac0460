/**
 * @file What of a local folder is worth copying: whole files. Unfinished ones (`.part`), locks and symbolic links are no
 * artifacts: the first are somebody's work in progress, the second mean something on one machine only, and the third are
 * names for folders that are copied themselves (pointers.ts makes them again).
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { stateOf } from '../digests.ts';
import { isDeadPart } from '../parts.ts';
import { explainFile } from './lessons.ts';
import { compareNames } from './names.ts';

/** A file of a local folder. */
export interface LocalFile {
  /** Relative to the folder, with slashes. */
  name: string;
  path: string;
  bytes: number;
  /** Changes when the content does, as far as the file system tells: size, time, inode. */
  mark: string;
}

/** What is there. */
export interface LocalFolder {
  /** In order of name. */
  files: LocalFile[];
  /** Symbolic links and other things that are no files, by name. */
  leftOut: string[];
}

/** A download or copy of an earlier version, whose name does not say whose it is: nobody writes to one file for so long without a byte. */
const STALE_MS = 3_600_000;

/** True for names that are never copied. */
export function isPassing(name: string): boolean {
  const segments = name.split('/');
  return segments.some((segment) => segment.endsWith('.part') || segment.startsWith('.lock'));
}

/** Files below `dir`; nothing if there is no such folder. @throws UnfoldError `bad-storage` for one that cannot be read */
export async function readFolder(dir: string): Promise<LocalFolder> {
  const folder: LocalFolder = { files: [], leftOut: [] };
  await walk(dir, '', folder);
  folder.files.sort((a, b) => compareNames(a.name, b.name));
  return folder;
}

async function walk(dir: string, prefix: string, into: LocalFolder): Promise<void> {
  const entries = await readdir(join(dir, prefix), { withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw explainFile(error, join(dir, prefix));
    },
  );
  for (const entry of entries) {
    const name = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (isDeadPart(entry.name)) await rm(join(dir, name), { recursive: true, force: true });
    else if (/^\.[0-9a-f]{16}\.part$/.test(entry.name)) await removeStale(join(dir, name));
    if (isPassing(entry.name)) continue;
    if (entry.isDirectory()) await walk(dir, name, into);
    else if (entry.isFile()) {
      const file = await fileAt(dir, name);
      if (file) into.files.push(file);
    } else into.leftOut.push(name);
  }
}

/** One file; undefined if it is gone. */
export async function fileAt(dir: string, name: string): Promise<LocalFile | undefined> {
  const path = join(dir, name);
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  if (!stats?.isFile()) return undefined;
  return { name, path, bytes: Number(stats.size), mark: stateOf(stats) };
}

async function removeStale(path: string): Promise<void> {
  const stats = await stat(path).catch(() => undefined);
  if (stats && Date.now() - stats.mtimeMs > STALE_MS) await rm(path, { force: true });
}
