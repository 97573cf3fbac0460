/**
 * @file Names of unfinished files and folders: `PATH.PLACE-PID-BORN-N.part`, one of its own for every writer. Two processes
 * that write the same file, because one of them was taken for dead and is not, so never write into one another's bytes;
 * the last rename wins, whole. Those of dead processes are removed by the next writer of the same path.
 */
import { randomInt } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { bornOf, isGone, PLACE } from './lock/holder.ts';

const BORN = bornOf(process.pid) ?? '';
const PATTERN = /^\.(?:([0-9a-f]{6})-(\d+)-(\d*)-\w+\.)?part$/;
/** The same at the end of a name of whatever file. */
const ENDING = /\.[0-9a-f]{6}-\d+-\d*-\w+\.part$/;

/** A new name beside `path`. */
export function partOf(path: string): string {
  return `${path}.${PLACE}-${process.pid}-${BORN}-${randomInt(2 ** 40).toString(36)}.part`;
}

/** True for the name of an unfinished file or folder whose writer, a process of this machine, is certainly gone. */
export function isDeadPart(name: string): boolean {
  const found = ENDING.exec(name);
  return found !== null && isDead(PATTERN.exec(found[0])!);
}

function isDead([, place, pid, born]: RegExpExecArray): boolean {
  return place === PLACE && isGone(Number(pid), born || undefined);
}

/**
 * Removes what processes that died left behind of `path`.
 * @param which `dead`: of processes of this machine that are certainly gone; `all`: whosesoever, for one who holds the lock
 *   of the folder; a writer that slept through the loss of its lock then finds that it has nothing to rename
 */
export async function removeParts(path: string, which: 'dead' | 'all'): Promise<void> {
  const name = basename(path);
  for (const entry of await readdir(dirname(path)).catch(() => [])) {
    if (!entry.startsWith(name)) continue;
    const found = PATTERN.exec(entry.slice(name.length));
    if (found && (which === 'all' || isDead(found)))
      await rm(join(dirname(path), entry), { recursive: true, force: true });
  }
}
