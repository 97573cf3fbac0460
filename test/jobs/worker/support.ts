/** @file What tests of workers share: a queue on a real server, probes in it, workers as processes of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Job, type JobsOptions, Queue } from 'bullmq';
import { type StageContext, silent } from '../../../src/context.ts';
import { addJobs } from '../../../src/jobs/enqueue.ts';
import type { ProbeFile, ProbeSettings } from '../../../src/jobs/kinds/probe.ts';
import type { DirectJob } from '../../../src/jobs/message.ts';
import { KEYS, PREFIX } from '../../../src/jobs/names.ts';
import { openQueue, type QueueConnection } from '../../../src/jobs/redis/open.ts';
import { type RunningWorker, startWorker, type WorkerOptions } from '../../../src/jobs/worker/worker.ts';
import { type RedisOptions, startRedis, type TestRedis } from '../../support/redis.ts';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));

/** A worker as a process. */
export interface WorkerProcess {
  process: ChildProcess;
  /** What it has said so far. */
  said(): string;
  /** Resolves with the exit code (128 + n for a signal). */
  ended: Promise<number>;
}

/** A queue to test with. */
export class Bench {
  readonly redis: TestRedis;
  readonly connection: QueueConnection;
  readonly dir: string;
  readonly notes: string[] = [];
  readonly #queues = new Map<string, Queue>();
  readonly #processes: ChildProcess[] = [];
  readonly #workers: RunningWorker[] = [];

  private constructor(redis: TestRedis, connection: QueueConnection, dir: string) {
    this.redis = redis;
    this.connection = connection;
    this.dir = dir;
  }

  static async start(options: RedisOptions = {}): Promise<Bench> {
    const redis = await startRedis(options);
    const dir = await mkdtemp(join(tmpdir(), 'unfold-worker-'));
    return new Bench(redis, await openQueue(redis.url, silent()), dir);
  }

  /** Ends everything and removes the folder. */
  async stop(): Promise<void> {
    for (const process of this.#processes) process.kill('SIGKILL');
    await Promise.all(this.#workers.map((worker) => worker.close()));
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    await this.connection.close();
    await this.redis.stop();
    await rm(this.dir, { recursive: true, force: true });
  }

  queue(name = 'probe'): Queue {
    const queue = this.#queues.get(name) ?? new Queue(name, this.connection.bullmq());
    this.#queues.set(name, queue);
    return queue;
  }

  /** Queues a probe; returns its job's id. */
  async probe(
    name: string,
    settings: Partial<ProbeSettings>,
    options: { attempts?: number } = {},
  ): Promise<string> {
    const { root } = await addJobs(
      this.connection,
      { message: this.message(name, settings), children: [] },
      options,
    );
    return root.id;
  }

  message(name: string, settings: Partial<ProbeSettings>): DirectJob {
    const shared = { kind: 'unfold.job/1' as const, type: 'direct' as const, stage: 'probe', tags: [] };
    return {
      ...shared,
      flow: `probe-${name}`,
      out: this.folder(name),
      settings: settings as DirectJob['settings'],
    };
  }

  folder(name: string): string {
    return join(this.dir, name);
  }

  /** Puts anything into a queue, past all checks. */
  async add(queue: string, data: unknown, options: JobsOptions = {}): Promise<string> {
    await this.connection.client.sadd(KEYS.queues, queue);
    const job = await this.queue(queue).add('anything', data, options);
    return job.id ?? '';
  }

  async job(id: string, queue = 'probe'): Promise<Job> {
    const job = await this.queue(queue).getJob(id);
    if (!job) throw new Error(`no job ${id}`);
    return job;
  }

  /** Resolves when the job is in this state. */
  async reaches(id: string, state: string, queue = 'probe'): Promise<Job> {
    await until(async () => (await this.queue(queue).getJobState(id)) === state, `${id} ${state}`);
    return this.job(id, queue);
  }

  /** As {@link reaches}, but pauses before retries are cut short. */
  async hurries(id: string, state: string): Promise<Job> {
    const promote = setInterval(
      () =>
        void this.queue()
          .promoteJobs()
          .catch(() => undefined),
      100,
    );
    return this.reaches(id, state).finally(() => clearInterval(promote));
  }

  async log(id: string, queue = 'probe'): Promise<string> {
    return (await this.queue(queue).getJobLogs(id, 0, -1)).logs.join('\n');
  }

  /** Events of BullMQ's stream of a queue, by name. */
  async events(name: string, queue = 'probe'): Promise<string[][]> {
    const all = await this.connection.client.xrange(`${PREFIX}:${queue}:events`, '-', '+');
    return all.map(([, fields]) => fields).filter((fields) => fields[1] === name);
  }

  /** Resolves with the pid of the child that is at the probe, once it has done some steps. */
  async childAt(name: string, step = 1): Promise<number> {
    const file = join(this.folder(name), 'step.json');
    await until(async () => {
      const text = await readFile(file, 'utf8').catch(() => '{}');
      return (JSON.parse(text).step ?? 0) >= step;
    }, `step ${step} of ${name}`);
    return (await this.starts(name)).at(-1)?.pid ?? 0;
  }

  /** probe.json of a finished probe. */
  async result(name: string): Promise<ProbeFile> {
    return JSON.parse(await readFile(join(this.folder(name), 'probe.json'), 'utf8'));
  }

  /** Lines of a probe's starts.log. */
  async starts(name: string): Promise<{ event: string; pid: number; at: string; step?: number }[]> {
    const text = await readFile(join(this.folder(name), 'starts.log'), 'utf8').catch(() => '');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }

  /** A worker in this process (its children are others). */
  async worker(options: WorkerOptions = {}, context?: StageContext): Promise<RunningWorker> {
    const note = (line: string) => this.notes.push(line);
    const worker = await startWorker(
      { queue: this.redis.url, lockMilliseconds: 2000, backend: 'cpu', roots: [this.dir], ...options },
      context ?? { ...silent(), note, warn: note },
    );
    this.#workers.push(worker);
    return worker;
  }

  /** A worker in a process of its own; resolves when it is at work. */
  async workerProcess(...args: string[]): Promise<WorkerProcess> {
    const line = ['worker', '--queue', this.redis.url, '--lock-seconds', '2', '--backend', 'cpu'];
    line.push('--root', this.dir, ...args);
    const process = spawn(globalThis.process.execPath, ['--import', 'tsx', MAIN, ...line]);
    this.#processes.push(process);
    let text = '';
    const hear = (part: Buffer) => (text += part);
    process.stdout.on('data', hear);
    process.stderr.on('data', hear);
    const ended = once(process, 'exit').then(([code]) => Number(code ?? -1));
    void ended.then(() => (text += '\n(ended)'));
    await until(
      () => /^worker \S+ on/m.test(text) || text.includes('(ended)'),
      () => `a worker, not: ${text}`,
    );
    return { process, said: () => text, ended };
  }
}

/** Resolves when `condition` holds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  seconds = 90,
): Promise<void> {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(50))
    if (await condition()) return;
  throw new Error(`waited for ${seconds} s for ${typeof what === 'string' ? what : what()}`);
}

/** Whether there is such a process (a zombie is none). */
export async function lives(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (status !== undefined) return !/\) [ZX] /.test(status);
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
