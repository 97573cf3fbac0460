/**
 * @file One process at a time in a run directory. The lock is a file made with O_EXCL that names its process; one left by
 * a process that is gone is taken over (by renaming it away first, which only one of several contenders can do).
 * A process on another machine cannot be looked at, so its lock stays until it is removed by hand.
 */
import { readFileSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { UnfoldError } from './errors.ts';

interface Owner {
  pid: number;
  host: string;
  /** Start time of the process where the system tells: a recycled pid is then not mistaken for the owner. */
  born?: string;
  since: string;
}

/** A held lock. */
export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes `dir/.lock`.
 * @throws UnfoldError `locked` when a living process holds it
 */
export async function lockDirectory(dir: string): Promise<Lock> {
  const path = join(dir, '.lock');
  await mkdir(dir, { recursive: true });
  for (let attempt = 0; attempt < 3; attempt++) {
    if (await claim(path)) return { release: () => rm(path, { force: true }) };
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const owner = parseOwner(text);
    if (owner === undefined || isAlive(owner)) throw locked(path, owner);
    await rename(path, `${path}.stale-${process.pid}`).catch(() => undefined);
    await rm(`${path}.stale-${process.pid}`, { force: true });
  }
  throw locked(path, parseOwner(await readFile(path, 'utf8').catch(() => '')));
}

async function claim(path: string): Promise<boolean> {
  const owner: Owner = {
    pid: process.pid,
    host: hostname(),
    born: bornOf(process.pid),
    since: new Date().toISOString(),
  };
  try {
    const file = await open(path, 'wx');
    await file.writeFile(`${JSON.stringify(owner)}\n`);
    await file.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function parseOwner(text: string): Owner | undefined {
  try {
    return JSON.parse(text) as Owner;
  } catch {
    return undefined;
  }
}

function isAlive(owner: Owner): boolean {
  if (owner.host !== hostname()) return true;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return owner.born === bornOf(owner.pid);
}

/** Field 22 of /proc/PID/stat (start time in ticks since boot); undefined where there is no /proc. */
function bornOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function locked(path: string, owner: Owner | undefined): UnfoldError {
  return new UnfoldError('locked', {
    where: path,
    expected: 'a run directory that no other process is using',
    found: owner
      ? `process ${owner.pid} on ${owner.host} at work in it since ${owner.since}`
      : 'a lock file that does not say whose it is (perhaps written this moment)',
    todo: `wait for that process, choose another --out, or, if it is certainly gone, remove ${path}`,
  });
}
