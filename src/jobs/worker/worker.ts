/**
 * @file `unfold worker`: takes jobs from all queues that it serves, as many at a time as it has slots, and sees each to an
 * end that loses nothing: done, failed with a reason, tried again, or handed back with a checkpoint.
 *
 * The engine is BullMQ's (locks, retries, flows). Ours are the slots over all queues, the child processes that compute
 * while this process renews their locks, and the leases that keep two of them from being at one job (lease.ts).
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { duration } from '../../cli/terminal.ts';
import type { StageContext } from '../../context.ts';
import { packageVersion } from '../../package-version.ts';
import { KEYS, type WorkerRecord } from '../names.ts';
import { openQueue, type QueueConnection } from '../redis/open.ts';
import { Bell } from './bell.ts';
import { Children } from './children.ts';
import { isDrained } from './drained.ts';
import { monotonic } from './lease.ts';
import { type WorkerOptions, type WorkerSettings, type WorkerSummary, workerSettings } from './options.ts';
import { cancelText, processJob } from './process-job.ts';
import { Queues } from './queues.ts';
import { Heartbeat } from './record.ts';
import { JobReport } from './report.ts';
import { Slot } from './slot.ts';
import type { TakenJob } from './slot-worker.ts';

export type { WorkerOptions, WorkerSummary } from './options.ts';

/** A worker at work. */
export interface RunningWorker {
  readonly id: string;
  /** Where its queue is, without passwords. */
  readonly queue: string;
  /** The backend of its children. */
  readonly backend: string;
  readonly connection: QueueConnection;
  /** What it says of itself to watchers. */
  record(): Omit<WorkerRecord, 'seen' | 'started'>;
  /** Hands back what is in hand, within the deadline, and ends. */
  close(): Promise<void>;
  /** Settles when it has ended. Rejects if it could not go on. */
  readonly closed: Promise<void>;
  summary(): WorkerSummary;
}

/** Milliseconds between two looks at empty queues: from the first to the last while nothing comes. */
const POLL = { first: 50, last: 500 };

/** Milliseconds between looks for new queues, and for cancelled jobs. */
const REFRESH = 2000;
const CANCEL = 1000;

/** Longest pause before a job whose files are in use is tried again, milliseconds. */
const LONGEST_PAUSE = 60_000;

/** Milliseconds beyond the deadline that Redis may take to answer at the end. */
const LAST_WORDS = 5000;

/** Children that cannot be started, one after the other, before the worker gives up. */
const START_FAILURES = 3;

/**
 * Starts a worker; resolves when it is at work. Aborting the context's signal closes it.
 * @throws UnfoldError `bad-setting`, `no-backend` if no child can compute here, and those of openQueue
 */
export async function startWorker(options: WorkerOptions, context: StageContext): Promise<RunningWorker> {
  const settings = workerSettings(options);
  const connection = await openQueue(settings.queue, context);
  const worker = new JobWorker(settings, connection, context);
  try {
    await worker.begin();
    return worker;
  } catch (error) {
    await worker.abandon();
    throw error;
  }
}

class JobWorker implements RunningWorker {
  readonly id = `${hostname()}-${process.pid}-${randomBytes(2).toString('hex')}`;
  readonly closed: Promise<void>;
  readonly #settings: WorkerSettings;
  readonly connection: QueueConnection;
  readonly #context: StageContext;
  readonly #children: Children;
  readonly #queues: Queues;
  readonly #heartbeat: Heartbeat;
  readonly #slots = new Map<string, Slot>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #bell = new Bell();
  /** How often each job was put off in a row. */
  readonly #pauses = new Map<string, number>();
  readonly #counts = { begun: 0, completed: 0, failed: 0, retried: 0, 'handed back': 0, waiting: 0 };
  readonly #began = performance.now();
  #settle: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #backend = '';
  #startFailures = 0;
  #closing: Promise<void> | undefined;
  #looking: Promise<void> | undefined;

  constructor(settings: WorkerSettings, connection: QueueConnection, context: StageContext) {
    this.#settings = settings;
    this.connection = connection;
    this.#context = context;
    this.#children = new Children({ backend: settings.backend, memoryLimit: settings.memoryLimit });
    this.#queues = new Queues(settings, {
      connection,
      name: this.id,
      lockMilliseconds: settings.lockMilliseconds,
      process: (_job, token) => this.#process(token),
      news: {
        renewed: (token, until) => this.#slots.get(token)?.renewed(until),
        lost: (token) => this.#lost(token),
      },
      complain: (message) => context.warn(message),
      recovered: (worker, id) => {
        context.note(`${id}: taken back from a worker that is lost`);
        void worker.getBackend().addLog(id, logLine('taken back from a worker that was lost'), 1000);
      },
    });
    this.#heartbeat = new Heartbeat(connection, () => this.record());
    this.closed = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.closed.catch(() => undefined);
  }

  get queue(): string {
    return this.connection.url;
  }

  get backend(): string {
    return this.#backend;
  }

  async begin(): Promise<void> {
    await mkdir(this.#settings.scratch, { recursive: true });
    // Before any job is taken: a machine that cannot compute must not fail jobs that others can do.
    const child = await this.#children.take();
    this.#backend = child.backend;
    this.#context.note(`backend ${child.backend}: ${child.why}`);
    this.#children.give(child, true);
    await this.#queues.refresh();
    await this.#heartbeat.begin();
    this.#every(REFRESH, () => this.#queues.refresh());
    this.#every(CANCEL, () => this.#lookForCancelled());
    const { signal } = this.#context;
    if (signal.aborted) void this.close();
    signal.addEventListener('abort', () => void this.close(), { once: true });
    this.#looking = this.#look().catch((error) => this.#giveUp(error));
  }

  /** Undoes what a failed start has begun. */
  async abandon(): Promise<void> {
    this.#children.kill();
    for (const timer of this.#timers) clearInterval(timer);
    await this.#queues.close().catch(() => undefined);
    await this.connection.close();
  }

  async close(): Promise<void> {
    this.#closing ??= this.#end().then(
      () => this.#settle?.resolve(),
      (error) => this.#settle?.reject(error),
    );
    await this.#closing;
  }

  summary(): WorkerSummary {
    const { begun, completed, failed, retried } = this.#counts;
    return {
      id: this.id,
      queue: this.queue,
      backend: this.#backend,
      begun,
      completed,
      failed,
      retried,
      handed_back: this.#counts['handed back'],
      seconds: Math.round(performance.now() - this.#began) / 1000,
    };
  }

  /** Fills the slots until told to stop. */
  async #look(): Promise<void> {
    const { concurrency, drain, maxJobs = Number.POSITIVE_INFINITY } = this.#settings;
    let pause = POLL.first;
    while (!this.#closing) {
      if (this.#counts.begun >= maxJobs && this.#slots.size === 0) return void this.close();
      if (this.#slots.size >= concurrency || this.#counts.begun >= maxJobs) {
        await this.#bell.wait();
        pause = POLL.first;
        continue;
      }
      const taken = await this.#queues.take();
      if (taken) {
        this.#begin(taken);
        pause = POLL.first;
        continue;
      }
      if (drain && this.#slots.size === 0 && (await this.#drained())) return void this.close();
      if (await this.#bell.wait(pause)) pause = POLL.first;
      else pause = Math.min(POLL.last, 1.5 * pause);
    }
  }

  async #drained(): Promise<boolean> {
    await this.#queues.refresh();
    return isDrained(this.connection, this.#queues.names, this.#queues.all);
  }

  #begin(taken: TakenJob): void {
    const { job, token, worker } = taken;
    const place = { id: this.id, host: hostname(), pid: process.pid, child: 0 };
    const slot = new Slot(taken, new JobReport(job, place));
    this.#slots.set(token, slot);
    this.#counts.begun++;
    const again = job.attemptsStarted > 1 ? ` (for the ${job.attemptsStarted}th time)` : '';
    this.#context.note(`${slot.id}: begun${again}`);
    slot.report.log(`begun by worker ${this.id}${again}`);
    if (this.#closing) this.#halt(slot);
    // Redis took long to answer: much of the lock's time is over already.
    if (taken.until - monotonic() < 0.75 * this.#settings.lockMilliseconds) void worker.keeper.renew();
    void worker
      .work(taken)
      .catch((error) => this.#context.warn(`${slot.id}: ${(error as Error).message}`))
      .finally(() => this.#ended(slot));
  }

  #ended(slot: Slot): void {
    const { job, token } = slot.taken;
    this.#slots.delete(token);
    slot.report.end();
    const end = slot.end ?? { type: 'failed', text: `failed: ${job.failedReason ?? 'for no known reason'}` };
    this.#counts[end.type]++;
    if (end.type !== 'handed back') this.#pauses.delete(slot.id);
    const line = `${slot.id}: ${end.text} (${duration((performance.now() - slot.began) / 1000)})`;
    if (end.type === 'failed' || end.type === 'retried') this.#context.warn(line);
    else this.#context.note(line);
    this.#bell.ring();
  }

  async #process(token: string): Promise<unknown> {
    const slot = this.#slots.get(token);
    if (!slot) throw new Error(`internal: no slot for ${token}`);
    return processJob(slot, {
      connection: this.connection,
      children: this.#children,
      scratch: this.#settings.scratch,
      pause: (id) => this.#pause(id),
      childStarted: (error) => this.#childStarted(error),
    });
  }

  /** 5 s, then longer and longer; never longer than tests with short locks can bear. */
  #pause(id: string): number {
    const times = this.#pauses.get(id) ?? 0;
    this.#pauses.set(id, times + 1);
    const first = Math.min(5000, this.#settings.lockMilliseconds);
    return Math.min(LONGEST_PAUSE, first * 2 ** times) * (0.75 + 0.5 * Math.random());
  }

  #childStarted(error?: unknown): void {
    this.#startFailures = error === undefined ? 0 : this.#startFailures + 1;
    if (error !== undefined) this.#context.warn((error as Error).message);
    if (this.#startFailures >= START_FAILURES) this.#giveUp(error);
  }

  #giveUp(error: unknown): void {
    this.#settle?.reject(error);
    void this.close();
  }

  #lost(token: string): void {
    const slot = this.#slots.get(token);
    if (!slot || slot.released) return;
    this.#context.warn(`${slot.id}: its lock is lost; stopped here, another worker may have it`);
    slot.halt({ type: 'lost' }, Math.max(0, Math.min(5000, slot.until - monotonic())));
  }

  async #lookForCancelled(): Promise<void> {
    const slots = [...this.#slots.values()].filter(({ id }) => id !== '');
    if (slots.length === 0) return;
    const requests = await this.connection.client.hmget(KEYS.cancel, ...slots.map(({ id }) => id));
    for (const [i, slot] of slots.entries()) {
      const request = requests[i];
      if (typeof request !== 'string' || slot.stop) continue;
      slot.halt({ type: 'cancelled', text: cancelText(request) }, this.#grace);
    }
  }

  #halt(slot: Slot): void {
    slot.halt({ type: 'closing' }, this.#grace);
  }

  get #grace(): number {
    return 1000 * this.#settings.deadlineSeconds;
  }

  async #end(): Promise<void> {
    this.#bell.ring();
    if (this.#slots.size > 0) this.#context.note(`handing back ${this.#slots.size} job(s)`);
    for (const slot of this.#slots.values()) this.#halt(slot);
    void this.#heartbeat.beat();
    const limit = this.#grace + LAST_WORDS;
    await within(limit, this.#handedBack());
    for (const timer of this.#timers) clearInterval(timer);
    this.#children.kill();
    await within(LAST_WORDS, Promise.allSettled([this.#heartbeat.close(), this.#queues.close()]));
    await this.#children.close();
    await this.connection.close();
  }

  /** Resolves when no job is in hand, and none will come. */
  async #handedBack(): Promise<void> {
    await this.#looking;
    while (this.#slots.size > 0) await this.#bell.wait();
  }

  /** Runs `task` again and again; one that is under way still is not begun twice, one that fails is tried again. */
  #every(milliseconds: number, task: () => Promise<void>): void {
    let busy = false;
    const timer = setInterval(() => {
      if (busy) return;
      busy = true;
      void task()
        .catch(() => undefined)
        .finally(() => (busy = false));
    }, milliseconds);
    this.#timers.push(timer);
  }

  record() {
    return {
      id: this.id,
      host: hostname(),
      pid: process.pid,
      unfold: packageVersion(),
      stages: [...(this.#settings.stages ?? [])],
      tags: [...this.#settings.tags],
      concurrency: this.#settings.concurrency,
      backend: this.#backend,
      jobs: [...this.#slots.values()].map(({ id }) => id),
      rss_bytes: process.memoryUsage.rss() + this.#children.rss,
      completed: this.#counts.completed,
      failed: this.#counts.failed,
      stopping: this.#closing !== undefined,
    };
  }
}

function logLine(text: string): string {
  return `${new Date().toISOString()} ${text}`;
}

/** Waits for a promise, but not for ever. */
async function within(milliseconds: number, promise: Promise<unknown>): Promise<void> {
  const enough = new AbortController();
  await Promise.race([promise, sleep(milliseconds, undefined, { signal: enough.signal }).catch(() => {})]);
  enough.abort();
}
