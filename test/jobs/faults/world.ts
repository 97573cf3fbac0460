/**
 * @file A queue with real workers as processes, to be killed, stopped and misled: a redis-server, a folder, and what to do
 * with them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { silent } from '../../../src/context.ts';
import { addJobs, type Enqueued } from '../../../src/jobs/enqueue.ts';
import type { ProbeFile, ProbeSettings } from '../../../src/jobs/kinds/probe.ts';
import { type DirectJob, jobId } from '../../../src/jobs/message.ts';
import { PREFIX } from '../../../src/jobs/names.ts';
import { openQueue, type QueueConnection } from '../../../src/jobs/redis/open.ts';
import type { WorkerOptions } from '../../../src/jobs/worker/worker.ts';
import { limited } from '../../support/file-limit.ts';
import { type RedisOptions, startRedis, type TestRedis } from '../../support/redis.ts';

/** What `unfold worker` says when it takes jobs. */
const READY = /^worker \S+ on /m;

/** Stages whose retries have pauses that can be cut short. */
const STAGES = ['corpus', 'harvest', 'train', 'evaluate', 'summary', 'probe'];

/** A process `unfold worker`. */
export class WorkerProcess {
  readonly process: ChildProcess;
  readonly gone: Promise<void>;
  #text = '';

  constructor(options: WorkerOptions, env: NodeJS.ProcessEnv = {}, limit?: number) {
    const { queue, concurrency = 1, lockMilliseconds = 2000, deadlineSeconds = 5, scratch } = options;
    const args = ['--import', 'tsx', 'src/cli/main.ts', 'worker'];
    const flags = {
      queue,
      concurrency,
      'lock-seconds': lockMilliseconds / 1000,
      deadline: deadlineSeconds,
      scratch,
      ...(options.stages && { stages: options.stages.join(',') }),
    };
    const given = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
    for (const root of options.roots ?? ['/']) given.push('--root', root);
    const line = limited([process.execPath, ...args, ...given], limit);
    this.process = spawn(line[0]!, line.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.process.stdout?.on('data', (text: Buffer) => (this.#text += text));
    this.process.stderr?.on('data', (text: Buffer) => (this.#text += text));
    this.gone = new Promise((resolve) => this.process.once('close', () => resolve()));
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** What it said so far. */
  get text(): string {
    return this.#text;
  }

  /** Resolves when it takes jobs. */
  async ready(): Promise<this> {
    await until(() => {
      if (this.process.exitCode !== null) throw new Error(`the worker ended: ${this.#text}`);
      return READY.test(this.#text);
    });
    return this;
  }

  /** Pids of its children. */
  get children(): number[] {
    try {
      const tasks = `/proc/${this.pid}/task`;
      const lists = readdirSync(tasks).map((task) => readFileSync(`${tasks}/${task}/children`, 'utf8'));
      return lists.flatMap((list) => list.trim().split(' ').filter(Boolean).map(Number));
    } catch {
      return [];
    }
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.gone;
  }
}

/** See the file's comment. */
export class FaultWorld {
  readonly dir: string;
  readonly redis: TestRedis;
  readonly connection: QueueConnection;
  readonly workers: WorkerProcess[] = [];
  readonly #queues = new Map<string, Queue>();

  private constructor(dir: string, redis: TestRedis, connection: QueueConnection) {
    this.dir = dir;
    this.redis = redis;
    this.connection = connection;
  }

  static async open(options: RedisOptions = {}): Promise<FaultWorld> {
    const redis = await startRedis(options);
    const dir = await mkdtemp(join(tmpdir(), 'unfold-fault-'));
    return new FaultWorld(dir, redis, await openQueue(redis.url, silent()));
  }

  /** Starts a worker whose locks last for two seconds. `limit`: see {@link limited}. */
  worker(options: WorkerOptions = {}, env: NodeJS.ProcessEnv = {}, limit?: number): WorkerProcess {
    const places = { queue: this.redis.url, scratch: join(this.dir, 'scratch') };
    const worker = new WorkerProcess({ ...places, ...options }, env, limit);
    this.workers.push(worker);
    return worker;
  }

  queue(name: string): Queue {
    let queue = this.#queues.get(name);
    if (!queue) {
      queue = new Queue(name, this.connection.bullmq());
      queue.on('error', () => {});
      this.#queues.set(name, queue);
    }
    return queue;
  }

  /** Queues a probe into `dir/NAME`. */
  async probe(name: string, settings: Partial<ProbeSettings> = {}, attempts = 3): Promise<Enqueued> {
    return addJobs(
      this.connection,
      { message: this.probeMessage(name, settings), children: [] },
      { attempts },
    );
  }

  probeMessage(name: string, settings: Partial<ProbeSettings>): DirectJob {
    return {
      kind: 'unfold.job/1',
      type: 'direct',
      stage: 'probe',
      flow: `probe-${name}`,
      tags: [],
      out: join(this.dir, name),
      settings: { seconds: 0, ...settings },
    };
  }

  probeId(name: string): string {
    return jobId(this.probeMessage(name, {}));
  }

  /** probe.json of a finished probe. */
  probeFile(name: string): ProbeFile {
    return JSON.parse(readFileSync(join(this.dir, name, 'probe.json'), 'utf8')) as ProbeFile;
  }

  /** How often each job of a queue was reported as completed, by the queue's own events. */
  async completions(queue: string): Promise<Map<string, number>> {
    const events = await this.connection.client.xrange(`${PREFIX}:${queue}:events`, '-', '+');
    const counts = new Map<string, number>();
    for (const [, fields] of events) {
      if (fields[1] !== 'completed') continue;
      const id = fields[fields.indexOf('jobId') + 1]!;
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    return counts;
  }

  /** What happened in a probe's folder: `start`, `resume`, `end`, `skip`. */
  events(name: string): { event: string; pid: number }[] {
    const path = join(this.dir, name, 'starts.log');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as { event: string; pid: number });
  }

  /** Waits until a job has ended; returns how. `impatient`: pauses before retries are cut short. */
  async ended(
    { queue, id }: { queue: string; id: string },
    seconds = 150,
    impatient = false,
  ): Promise<string> {
    let state = '';
    await until(
      async () => {
        if (impatient) await Promise.all(STAGES.map((stage) => this.queue(stage).promoteJobs()));
        const job = await this.queue(queue).getJob(id);
        state = (await job?.getState()) ?? 'unknown';
        return state === 'completed' || state === 'failed';
      },
      seconds,
      () => `${id} is ${state}\n${this.workers.map(({ text }) => text).join('\n---\n')}`,
    );
    return state;
  }

  async close(): Promise<void> {
    for (const worker of this.workers) {
      for (const child of worker.children) kill(child);
      worker.process.kill('SIGKILL');
    }
    await Promise.all(this.workers.map(({ gone }) => gone));
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    await this.connection.close();
    await this.redis.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** kill -9, or nothing if there is no such process. */
export function kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone.
  }
}

/** Waits until something is so. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  seconds = 120,
  about: () => string = () => '',
): Promise<void> {
  const end = performance.now() + 1000 * seconds;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${isSo} ${about()}`);
    await sleep(1);
  }
}

/** True if some file or folder below `dir`, four levels deep at most, has a relative path like this. */
export function has(dir: string, pattern: RegExp, levels = 4, at = ''): boolean {
  return list(join(dir, at)).some((name) => {
    const path = join(at, name);
    return pattern.test(path) || (levels > 1 && has(dir, pattern, levels - 1, path));
  });
}

function list(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
