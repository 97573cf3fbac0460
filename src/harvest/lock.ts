/**
 * @file Keeps two processes from harvesting the same shards. A lock is a file in the output folder, made with O_EXCL,
 * that names its holder (host, process id) and the shards it covers; disjoint ranges may run side by side. A holder
 * that was killed leaves its file behind: on the same host it is known to be gone, on another one its file has not been
 * touched for minutes, and the lock is taken over.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, open, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { UnfoldError } from '../errors.ts';

/** Shards [first, last]. */
export interface ShardRange {
  first: number;
  last: number;
}

interface Holder extends ShardRange {
  host: string;
  pid: number;
}

/** A holder touches its file this often; on another host it is believed dead after ten times as long. */
const TOUCH_MS = 30_000;

/** Locks held by this process: its own id in a file may also be a dead process's of an earlier container. */
const held = new Set<string>();

/**
 * Locks a range of shards in `dir`, which is made if need be.
 * @returns the function that unlocks
 * @throws UnfoldError `locked` that names the other process
 */
export async function lockShards(dir: string, range: ShardRange): Promise<() => void> {
  await mkdir(dir, { recursive: true });
  const path = join(dir, `.lock-${range.first}-${range.last}`);
  await refuseOverlap(dir, range);
  const file = await open(path, 'wx').catch(() => undefined);
  if (!file) throw locked(dir, holderOf(path) ?? { ...range, host: 'this host', pid: 0 });
  held.add(path);
  try {
    const holder: Holder = { ...range, host: hostname(), pid: process.pid };
    await file.writeFile(JSON.stringify(holder));
  } finally {
    await file.close();
  }
  const unlock = keepAlive(path);
  try {
    // Of two processes that made overlapping locks at the same moment, each sees the other's here.
    await refuseOverlap(dir, range, path);
  } catch (error) {
    unlock();
    throw error;
  }
  return unlock;
}

function keepAlive(path: string): () => void {
  const timer = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => undefined), TOUCH_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    rmSync(path, { force: true });
    held.delete(path);
  };
}

async function refuseOverlap(dir: string, range: ShardRange, own?: string): Promise<void> {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (!name.startsWith('.lock-') || path === own) continue;
    const holder = holderOf(path);
    if (!holder || holder.last < range.first || holder.first > range.last) continue;
    if (await isAlive(path, holder)) throw locked(dir, holder);
    rmSync(path, { force: true });
  }
}

/** What a lock file says; its name is enough if its holder died before writing. */
function holderOf(path: string): Holder | undefined {
  const range = /\.lock-(\d+)-(\d+)$/.exec(path);
  if (!range) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch {
    return { first: Number(range[1]), last: Number(range[2]), host: hostname(), pid: 0 };
  }
}

async function isAlive(path: string, { host, pid }: Holder): Promise<boolean> {
  if (host !== hostname() || pid === 0) {
    const touched = await stat(path).then(
      (stats) => stats.mtimeMs,
      () => 0,
    );
    return Date.now() - touched < (pid === 0 ? 5_000 : 10 * TOUCH_MS);
  }
  if (pid === process.pid) return held.has(path);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, under another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function locked(dir: string, { first, last, host, pid }: Holder): UnfoldError {
  return new UnfoldError('locked', {
    where: dir,
    expected: 'no other process harvesting these shards',
    found: `process ${pid} on ${host} holds shards ${first} to ${last}`,
    todo: 'wait for it, choose another --out, or take other shards with --shards; a lock whose process has died is taken over by itself',
  });
}
