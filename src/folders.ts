/**
 * @file Making folders with those above them. Node's own recursive mkdir never returns, and cannot be stopped, where the
 * system says "no such file" of a folder whose parent is there: anywhere below /proc, on some read-only disks.
 */
import { mkdirSync, statSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes a folder unless it is there. @throws the file system's error, for explainDisk */
export async function makeFolder(path: string, mode?: number): Promise<void> {
  try {
    await mkdir(path, mode);
  } catch (error) {
    if (await isFolder(path)) return;
    if (!mayMakeAbove(path, error)) throw error;
    // Where the parent is there, another process may just have made it: tried once more.
    if (!(await isFolder(dirname(path)))) await makeFolder(dirname(path), mode);
    await mkdir(path, mode).catch(async (again: unknown) => {
      if (!(await isFolder(path))) throw again;
    });
  }
}

/** The same at once. */
export function makeFolderSync(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    if (isFolderSync(path)) return;
    if (!mayMakeAbove(path, error)) throw error;
    if (!isFolderSync(dirname(path))) makeFolderSync(dirname(path));
    try {
      mkdirSync(path);
    } catch (again) {
      if (!isFolderSync(path)) throw again;
    }
  }
}

const mayMakeAbove = (path: string, error: unknown) =>
  (error as NodeJS.ErrnoException).code === 'ENOENT' && dirname(path) !== path;

const isFolder = (path: string) =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

function isFolderSync(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
