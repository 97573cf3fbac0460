/**
 * @file How much disk runs take. Only folders that look like a stage's (`train-1f2e3d4c`) are measured in a run's folder, so
 * that a message that names `/` as its folder costs nothing; links are not followed; sizes are remembered for a minute.
 */
import type { Dirent } from 'node:fs';
import { lstat, readdir, realpath, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/** Bytes of files on disk. */
export interface FolderSize {
  bytes: number;
  files: number;
  /** There was more than was counted. */
  partial: boolean;
}

/** A folder of runs. */
export interface RunDisk {
  path: string;
  /** Undefined if this machine does not see it. */
  stages?: ({ name: string; finished: boolean } & FolderSize)[];
  bytes: number;
  /** Free and all bytes of its file system. */
  free?: number;
  total?: number;
}

const MOST_FILES = 100_000;
const MOST_STAGES = 500;
const MEMORY = 60_000;
/** A stage's folder: name and first 8 digits of its key (src/pipeline/run-stages.ts). */
const STAGE_FOLDER = /^[a-z][a-z0-9-]*-[0-9a-f]{8}$/;

const remembered = new Map<string, { at: number; size: Promise<FolderSize | undefined> }>();

/** Size of all in a folder, undefined if it cannot be read; up to a minute old. */
export function folderBytes(path: string): Promise<FolderSize | undefined> {
  const known = remembered.get(path);
  if (known && performance.now() - known.at < MEMORY) return known.size;
  if (remembered.size > 5000) remembered.clear();
  const size = measure(path).catch(() => undefined);
  remembered.set(path, { at: performance.now(), size });
  return size;
}

/** The stages in a folder of runs. */
export async function runDisk(path: string): Promise<RunDisk> {
  const entries = await list(path);
  if (!entries) return { path, bytes: 0 };
  const names = entries.filter((entry) => entry.isDirectory() && STAGE_FOLDER.test(entry.name));
  const stages: NonNullable<RunDisk['stages']> = [];
  for (const { name } of names.slice(0, MOST_STAGES)) {
    const size = await folderBytes(join(path, name));
    const finished = await lstat(join(path, name, 'stage.json')).then(
      (found) => found.isFile(),
      () => false,
    );
    if (size) stages.push({ name, finished, ...size });
  }
  stages.sort((a, b) => b.bytes - a.bytes);
  const system = await statfs(path).catch(() => undefined);
  return {
    path,
    stages,
    bytes: stages.reduce((sum, { bytes }) => sum + bytes, 0),
    ...(system ? { free: system.bavail * system.bsize, total: system.blocks * system.bsize } : {}),
  };
}

/** Folders of runs: those that were named, and those of flows that lie on this machine; each once. */
export async function runsDisk(named: readonly string[], outs: Iterable<string>): Promise<RunDisk[]> {
  const local = [...outs].filter((out) => !/^\w+:\/\//.test(out));
  const paths = await byRealPath([...named, ...local].map((path) => resolve(path)));
  const runs: RunDisk[] = [];
  for (const path of paths) runs.push(await runDisk(path));
  return runs.filter((run) => run.stages?.length || named.some((path) => resolve(path) === run.path));
}

/** The first name of each folder, whatever links lead to it. */
async function byRealPath(paths: readonly string[]): Promise<string[]> {
  const first = new Map<string, string>();
  for (const path of new Set(paths)) {
    if (first.size >= 200) break;
    const real = await realpath(path).catch(() => path);
    if (!first.has(real)) first.set(real, path);
  }
  return [...first.values()];
}

async function measure(root: string): Promise<FolderSize | undefined> {
  if (!(await list(root))) return undefined;
  const size: FolderSize = { bytes: 0, files: 0, partial: false };
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of (await list(folder)) ?? []) {
      if (size.files >= MOST_FILES) return { ...size, partial: true };
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      if (!entry.isFile()) continue;
      size.files++;
      // `blocks` are what it takes on the disk: sparse files and small ones differ from their length.
      const found = await lstat(path).catch(() => undefined);
      size.bytes += found ? found.blocks * 512 : 0;
    }
  }
  return size;
}

async function list(path: string): Promise<Dirent[] | undefined> {
  return readdir(path, { withFileTypes: true }).catch(() => undefined);
}
