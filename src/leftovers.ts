/**
 * @file What killed processes leave behind where others have finished since: unfinished files and folders under names of
 * their own (parts.ts), and locks. A finished command leaves nothing that is not its result, so it sweeps its folder; only
 * what belonged to processes of this machine that are certainly gone is touched.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { look } from './lock/holder.ts';
import { judge, LockFile } from './lock/lock-file.ts';
import { isDeadPart } from './parts.ts';

/** Removes what dead processes left in `dir` and below; links are not followed. What cannot be removed stays. */
export async function sweepLeftovers(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true }).catch(() => [])) {
    const path = join(dir, entry.name);
    if (isDeadPart(entry.name)) await rm(path, { recursive: true, force: true }).catch(() => undefined);
    else if (entry.isFile() && entry.name.startsWith('.lock')) releaseDead(path);
    else if (entry.isDirectory()) await sweepLeftovers(path);
  }
}

/** Takes the lock of a dead process over, as its successor would, and lets go of it. */
function releaseDead(path: string): void {
  try {
    const seen = look(path);
    if (!seen || judge(path, seen, Number.POSITIVE_INFINITY) !== 'dead') return;
    LockFile.takeOver(path, seen, Number.POSITIVE_INFINITY)?.release();
  } catch {
    // A folder that may only be read: nothing is lost.
  }
}
