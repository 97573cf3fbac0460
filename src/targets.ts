/**
 * @file Where an output really goes: a name that is a link stays one, and what it leads to is replaced, be it there
 * already or not. Whatever is written beside its name first is written beside the real one: a link may lead to another disk.
 */
import { lstat, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { UnfoldError } from './errors.ts';

/** Links that lead to links; the kernel's own limit. */
const MOST_LINKS = 40;

/**
 * The path that `path` leads to, itself no link; `path` as it is where it is none or nothing.
 * @throws UnfoldError `not-writable` for links that lead in a circle, and for what is neither file nor folder: a file put in
 *   the place of a FIFO or a device would take it away from everybody
 */
export async function targetOf(path: string): Promise<string> {
  let current = path;
  for (let turn = 0; turn < MOST_LINKS; turn++) {
    const to = await readlink(current).catch(() => undefined);
    if (to === undefined) return (await isSpecial(current)) ? refuseSpecial(path) : current;
    // `..` in a link is seen from the folder that the link really lies in.
    current = resolve(await realpath(dirname(current)), to);
  }
  throw new UnfoldError('not-writable', {
    where: path,
    expected: 'a name, or a link to where the output is to go',
    found: `more than ${MOST_LINKS} links that lead to one another`,
    todo: 'remove the link, or choose another name',
  });
}

async function isSpecial(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  return stats !== undefined && !stats.isFile() && !stats.isDirectory();
}

function refuseSpecial(path: string): never {
  throw new UnfoldError('not-writable', {
    where: path,
    expected: 'a file or folder, or a name that is free',
    found: 'a FIFO, a device or a socket',
    todo: 'choose another name; what is written is moved to its name when it is whole',
  });
}

/** True for the root of a mounted disk, which cannot be renamed or removed. */
export async function isMountPoint(path: string): Promise<boolean> {
  const [own, parent] = await Promise.all(
    [path, dirname(path)].map((at) => lstat(at).catch(() => undefined)),
  );
  return own !== undefined && parent !== undefined && own.isDirectory() && own.dev !== parent.dev;
}

/** The name of which the unfinished forms of the folder `target` are made (parts.ts): beside it, or in it where it is a disk. */
export async function besideFolder(target: string): Promise<string> {
  return (await isMountPoint(target)) ? join(target, basename(target)) : target;
}
