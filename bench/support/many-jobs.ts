/**
 * @file Many small jobs and several workers, some of which are killed with -9 on the way, and the count afterwards: what was
 * lost, what was done twice. The jobs are probes of no length, real jobs in everything else: checked, locked, leased, done
 * in a child process, each with a manifest that is fsynced.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PREFIX } from '../../src/jobs/names.ts';
import { Random } from '../../src/random.ts';
import type { FaultWorld, WorkerProcess } from '../../test/jobs/faults/world.ts';

/** What is to be done. */
export interface ManyJobs {
  jobs: number;
  workers: number;
  /** How many of them are killed with -9 on the way; each is replaced at once. */
  kills: number;
  seed: number;
  lockMilliseconds: number;
}

/** What came of it. */
export interface ManyJobsResult {
  /** From the moment that all workers were there and all jobs queued. */
  seconds: number;
  enqueue_seconds: number;
  /** Jobs that were not completed, or whose manifest is missing or wrong. */
  lost: number;
  /** Jobs whose work ran to its end more than once. */
  done_twice: number;
  /** Jobs that were begun more than once: killed in the middle, and gone on with. */
  begun_again: number;
  kills: number;
  failed: number;
  /** Of all workers and their children together, bytes. */
  peak_rss: number;
}

/** Queues probes, has them done, kills workers at random moments, and counts. */
export async function manyJobs(world: FaultWorld, name: string, how: ManyJobs): Promise<ManyJobsResult> {
  const queue = world.queue('probe');
  await queue.pause();
  const names = Array.from({ length: how.jobs }, (_, i) => `${name}-${i}`);
  const enqueue_seconds = await timed(() => inParallel(names, 16, (each) => world.probe(each)));
  const workers = Array.from({ length: how.workers }, () =>
    world.worker({ lockMilliseconds: how.lockMilliseconds }),
  );
  await Promise.all(workers.map((worker) => worker.ready()));
  const before = await ended(world);
  let peak_rss = 0;
  let killed = 0;
  const seconds = await timed(async () => {
    await queue.resume();
    const moments = momentsOf(how);
    for (;;) {
      const done = (await ended(world)) - before;
      if (done >= how.jobs) break;
      if (moments.length > killed && done >= moments[killed]!.at) {
        await strike(world, workers, moments[killed]!.who, how);
        killed++;
      }
      peak_rss = Math.max(peak_rss, rssOf(workers));
      await sleep(50);
    }
  });
  await Promise.all(workers.map((worker) => worker.kill()));
  const failed = await world.connection.client.zcard(`${PREFIX}:probe:failed`);
  return { seconds, enqueue_seconds, ...(await count(world, names)), kills: killed, failed, peak_rss };
}

/** Seconds that bare BullMQ takes for as many jobs that do nothing at all, with as many processes. */
export async function bareJobs(world: FaultWorld, { jobs, workers }: ManyJobs): Promise<number> {
  const queue = world.queue('bare');
  await queue.pause();
  for (let from = 0; from < jobs; from += 500) {
    const batch = Array.from({ length: Math.min(500, jobs - from) }, (_, i) => ({ name: 'x', data: { i } }));
    await queue.addBulk(batch);
  }
  const script = join(import.meta.dirname, 'bare-worker.ts');
  const socket = join(world.redis.dir, 'redis.sock');
  const processes: ChildProcess[] = [];
  try {
    for (let i = 0; i < workers; i++) {
      const args = ['--import', 'tsx', script, socket, 'bare'];
      processes.push(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
    }
    await Promise.all(processes.map((each) => once(each.stdout!, 'data')));
    return await timed(async () => {
      await queue.resume();
      while ((await world.connection.client.zcard(`${PREFIX}:bare:completed`)) < jobs) await sleep(20);
    });
  } finally {
    for (const each of processes) each.kill('SIGKILL');
  }
}

/** After how many jobs which worker is struck. */
function momentsOf({ jobs, workers, kills, seed }: ManyJobs): { at: number; who: number }[] {
  const random = Random.of(seed, 'kills');
  const moments = Array.from({ length: kills }, () => ({
    at: Math.floor((0.05 + 0.85 * random.float()) * jobs),
    who: random.below(workers),
  }));
  return moments.sort((a, b) => a.at - b.at);
}

async function strike(
  world: FaultWorld,
  workers: WorkerProcess[],
  who: number,
  { lockMilliseconds }: ManyJobs,
): Promise<void> {
  await workers[who]!.kill();
  workers[who] = world.worker({ lockMilliseconds });
}

async function ended(world: FaultWorld): Promise<number> {
  const { client } = world.connection;
  const counts = ['completed', 'failed'].map((state) => client.zcard(`${PREFIX}:probe:${state}`));
  return (await Promise.all(counts)).reduce((sum, each) => sum + each, 0);
}

async function count(world: FaultWorld, names: readonly string[]) {
  const tally = { lost: 0, done_twice: 0, begun_again: 0 };
  for (const name of names) {
    const inQueue = await world.connection.client.zscore(`${PREFIX}:probe:completed`, world.probeId(name));
    const isThere = existsSync(join(world.dir, name, 'probe.json'));
    if (inQueue === null || !isThere || !/^[0-9a-f]{64}$/.test(world.probeFile(name).result)) tally.lost++;
    const events = world.events(name).map(({ event }) => event);
    if (events.filter((event) => event === 'end').length !== 1) tally.done_twice++;
    if (events.filter((event) => event !== 'end').length > 1) tally.begun_again++;
  }
  return tally;
}

function rssOf(workers: readonly WorkerProcess[]): number {
  const pids = workers.flatMap((worker) => [worker.pid, ...worker.children]);
  return pids.reduce((sum, pid) => sum + rss(pid), 0);
}

function rss(pid: number): number {
  try {
    return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await act();
  return (performance.now() - began) / 1000;
}

async function inParallel<T>(
  items: readonly T[],
  width: number,
  act: (item: T) => Promise<unknown>,
): Promise<void> {
  const rest = items.values();
  const lane = async () => {
    for (const item of rest) await act(item);
  };
  await Promise.all(Array.from({ length: width }, lane));
}
