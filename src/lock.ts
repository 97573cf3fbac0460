/**
 * @file One process at a time in a folder, or at a range of its shards. What a lock is and when its holder counts as dead:
 * lock/holder.ts (same machine: at once), lock/watch.ts (another machine: its heartbeat has stood still for a minute of
 * our own clock), lock/lock-file.ts (one of many contenders wins). Clocks of different machines are never compared.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UnfoldError } from './errors.ts';
import { explainDisk } from './files.ts';
import { makeFolderSync } from './folders.ts';
import { type Holder, isStopped, look } from './lock/holder.ts';
import { judge, LockFile } from './lock/lock-file.ts';
import { forget } from './lock/watch.ts';

/** A held lock. */
export interface Lock {
  /** Aborted, with a reason of kind `locked`, if the lock was taken away: this process slept for too long. */
  readonly signal: AbortSignal;
  release(): Promise<void>;
}

/** How to lock; a StageContext fits. */
export interface LockOptions {
  /** Ends the waiting. */
  signal?: AbortSignal;
  /** Told when it takes a while to see whether the holder is alive. */
  note?(message: string): void;
  /** Milliseconds to wait for a living holder to finish. Default 0: refuse as soon as it is known to live. */
  wait?: number;
  /** Milliseconds without a heartbeat after which a holder on another machine counts as dead. Default 60,000. */
  deadAfter?: number;
  /** Milliseconds between two looks. Default 250. */
  poll?: number;
  /** Milliseconds between two heartbeats of our own. Default 3,000. */
  beat?: number;
}

/** Shards [first, last]. */
export interface ShardRange {
  first: number;
  last: number;
}

const DEAD_AFTER_MS = 60_000;
const POLL_MS = 250;
/** The lock under which ranges are compared is held for a moment only. */
const RANGES_WAIT_MS = 30_000;

/**
 * Takes `dir/.lock`; makes the folder if need be. Whether a holder on another machine is alive is seen after some seconds,
 * whether it is dead after a minute.
 * @throws UnfoldError `locked` when a living process holds it; the signal's reason
 */
export async function lockDirectory(dir: string, options: LockOptions = {}): Promise<Lock> {
  return lockPath(join(dir, '.lock'), options);
}

/** As {@link lockDirectory}, with a lock file of any name. */
export async function lockPath(path: string, options: LockOptions = {}): Promise<Lock> {
  makeFolder(join(path, '..'));
  const { lost, signal } = lossOf(path);
  const file = await contend(options, () => {
    const claimed = LockFile.claim(path, {}, lost);
    if (claimed) return claimed;
    const seen = look(path);
    if (!seen) return 'again';
    const verdict = judge(path, seen, options.deadAfter ?? DEAD_AFTER_MS);
    if (verdict === 'dead')
      return LockFile.takeOver(path, seen, options.deadAfter ?? DEAD_AFTER_MS, {}, lost) ?? 'again';
    return { verdict, error: locked(path, seen.holder) };
  });
  return heldBy(file, signal, options);
}

/**
 * Locks a range of the shards in `dir`, which is made if need be. Disjoint ranges may be held side by side.
 * @returns the function that unlocks
 * @throws UnfoldError `locked` that names the other process; the signal's reason
 */
export async function lockShards(
  dir: string,
  range: ShardRange,
  options: LockOptions = {},
): Promise<(() => void) & { signal: AbortSignal }> {
  makeFolder(dir);
  const path = join(dir, `.lock-${range.first}-${range.last}`);
  const { lost, signal } = lossOf(path);
  const file = await contend(options, async () => {
    const ranges = await lockPath(join(dir, '.lock-ranges'), { ...options, poll: 20, wait: RANGES_WAIT_MS });
    try {
      return refuseOverlap(dir, range, options.deadAfter ?? DEAD_AFTER_MS) ?? claimRange(path, range, lost);
    } finally {
      await ranges.release();
    }
  });
  file.keepAlive(options.beat);
  return Object.assign(() => file.release(), { signal });
}

function claimRange(path: string, range: ShardRange, lost: () => void): LockFile | 'again' {
  const { first, last } = range;
  return LockFile.claim(path, { first, last }, lost) ?? 'again';
}

function makeFolder(path: string): void {
  try {
    makeFolderSync(path);
  } catch (error) {
    throw explainDisk(error, path);
  }
}

interface Refusal {
  verdict: 'alive' | 'unsure';
  error: UnfoldError;
}

/** Removes the locks of the dead among those that overlap `range`; returns the first of another kind. */
function refuseOverlap(dir: string, range: ShardRange, deadAfter: number): Refusal | undefined {
  for (const name of readdirSync(dir)) {
    const named = /^\.lock-(\d+)-(\d+)$/.exec(name);
    if (!named) continue;
    const [first, last] = [Number(named[1]), Number(named[2])];
    if (last < range.first || first > range.last) continue;
    const path = join(dir, name);
    const seen = look(path);
    if (!seen) continue;
    const verdict = judge(path, seen, deadAfter);
    if (verdict !== 'dead') return { verdict, error: lockedShards(dir, { first, last }, seen.holder) };
    // Nobody else removes or makes such files meanwhile but a holder its own.
    rmSync(path, { force: true });
    forget(path);
  }
  return undefined;
}

/** Tries until it has the file, or a living holder has been waited for in vain. */
async function contend(
  { signal, note, wait = 0, poll = POLL_MS }: LockOptions,
  attempt: () => LockFile | Refusal | 'again' | Promise<LockFile | Refusal | 'again'>,
): Promise<LockFile> {
  const began = performance.now();
  let told = false;
  for (let turn = 0; ; turn++) {
    signal?.throwIfAborted();
    const outcome = await attempt();
    if (outcome instanceof LockFile) return outcome;
    const waited = performance.now() - began;
    if (outcome !== 'again') {
      if (outcome.verdict === 'alive' && waited >= wait) throw outcome.error;
      if (!told && waited > 1_000) {
        told = true;
        note?.(`waiting: ${outcome.error.lesson.found} (${outcome.error.lesson.where})`);
      }
    }
    // Contenders that meet again and again are set apart.
    const pause = outcome === 'again' ? Math.min(2 ** turn, poll) * (0.5 + Math.random()) : poll;
    await sleep(pause, undefined, { signal });
  }
}

function heldBy(file: LockFile, signal: AbortSignal, { beat }: LockOptions): Lock {
  file.keepAlive(beat);
  return { signal, release: async () => file.release() };
}

function lossOf(path: string): { lost: () => void; signal: AbortSignal } {
  const controller = new AbortController();
  const lost = () =>
    controller.abort(
      new UnfoldError('locked', {
        where: path,
        expected: 'the lock that this process made',
        found:
          'none, or that of another process: this one had been stopped for so long that it counted as dead',
        todo: 'nothing is lost: run the same command again, it goes on from the last checkpoint',
      }),
    );
  return { lost, signal: controller.signal };
}

function locked(path: string, holder: Holder | undefined): UnfoldError {
  const known = holder && `${nameOf(holder)} at work in it since ${holder.since ?? 'some time'}`;
  return new UnfoldError('locked', {
    where: path,
    expected: 'a run directory that no other process is using',
    found: known ?? 'a lock file that does not say whose it is (perhaps written this moment)',
    todo: `wait for that process, choose another --out, or, if it is certainly gone, remove ${path}`,
  });
}

function lockedShards(dir: string, { first, last }: ShardRange, holder: Holder | undefined): UnfoldError {
  return new UnfoldError('locked', {
    where: dir,
    expected: 'no other process harvesting these shards',
    found: `${holder ? nameOf(holder) : 'a process that does not give its name'} holds shards ${first} to ${last}`,
    todo: 'wait for it, choose another --out, or take other shards with --shards; a lock whose process has died is taken over by itself',
  });
}

function nameOf(holder: Holder): string {
  const stopped = isStopped(holder) ? ` (stopped: kill -CONT ${holder.pid} lets it go on)` : '';
  return `process ${holder.pid} on ${holder.host}${stopped}`;
}
