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

/** A new name beside `path`. */
export function partOf(path: string): string {
  return `${path}.${PLACE}-${process.pid}-${BORN}-${randomInt(2 ** 40).toString(36)}.part`;
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
    if (!found) continue;
    const [, place, pid, born] = found;
    const isDead = place === PLACE && isGone(Number(pid), born || undefined);
    if (which === 'all' || isDead) await rm(join(dirname(path), entry), { recursive: true, force: true });
  }
}
