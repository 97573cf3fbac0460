/**
 * @file The worker itself: its slots, the loop that fills them, and its end.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { duration } from '../../cli/terminal.ts';
import type { StageContext } from '../../context.ts';
import { packageVersion } from '../../package-version.ts';
import type { QueueConnection } from '../redis/open.ts';
import { type Roots, resolveRoots } from '../roots.ts';
import { Bell } from './bell.ts';
import { forgetRequest, haltCancelled } from './cancelled.ts';
import { Children } from './children.ts';
import { leftFor } from './drained.ts';
import { monotonic } from './lease.ts';
import { makeScratch, type WorkerSettings, type WorkerSummary } from './options.ts';
import { Pauses } from './pauses.ts';
import { processJob } from './process-job.ts';
import { QueueClock } from './queue-clock.ts';
import { Queues } from './queues.ts';
import { Heartbeat } from './record.ts';
import { JobReport } from './report.ts';
import { Slot } from './slot.ts';
import type { TakenJob } from './slot-worker.ts';
import { every, within } from './timing.ts';
import type { RunningWorker } from './worker.ts';

/** Milliseconds between two looks at empty queues: from the first to the last while nothing comes. */
const POLL = { first: 50, last: 500 };

/** Milliseconds between looks for new queues, and for cancelled jobs. */
const REFRESH = 2000;
const CANCEL = 1000;

/** Milliseconds beyond the deadline that Redis may take to answer at the end. */
const LAST_WORDS = 5000;

/** Children that cannot be started, one after the other, before the worker gives up. */
const START_FAILURES = 3;

/** See worker.ts. */
export class JobWorker implements RunningWorker {
  readonly id = `${hostname()}-${process.pid}-${randomBytes(2).toString('hex')}`;
  readonly closed: Promise<void>;
  readonly #settings: WorkerSettings;
  readonly connection: QueueConnection;
  readonly #context: StageContext;
  readonly #children: Children;
  readonly #queues: Queues;
  readonly #heartbeat: Heartbeat;
  readonly #clock: QueueClock;
  readonly #slots = new Map<string, Slot>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #bell = new Bell();
  readonly #pauses: Pauses;
  readonly #counts = { begun: 0, completed: 0, failed: 0, retried: 0, 'handed back': 0, waiting: 0 };
  readonly #began = performance.now();
  #settle: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #backend = '';
  #roots: Roots = [];
  #startFailures = 0;
  #left = ''; // what --drain said last
  #closing: Promise<void> | undefined;
  #looking: Promise<void> | undefined;

  constructor(settings: WorkerSettings, connection: QueueConnection, context: StageContext) {
    this.#settings = settings;
    this.connection = connection;
    this.#context = context;
    this.#pauses = new Pauses(Math.min(5000, settings.lockMilliseconds));
    this.#children = new Children({ backend: settings.backend, memoryLimit: settings.memoryLimit });
    this.#clock = new QueueClock(() => connection.time());
    this.#queues = new Queues(settings, {
      connection,
      name: this.id,
      clock: this.#clock,
      lockMilliseconds: settings.lockMilliseconds,
      process: (_job, token) => this.#process(token),
      news: {
        renewed: (token, until) => this.#slots.get(token)?.renewed(until),
        lost: (token) => this.#lost(token),
      },
      complain: (message) => context.warn(message),
      recovered: (worker, id) => {
        context.note(`${id}: taken back from a worker that is lost`);
        const line = `${new Date().toISOString()} taken back from a worker that was lost`;
        void worker
          .getBackend()
          .addLog(id, line, 1000)
          .catch(() => undefined);
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
    await makeScratch(this.#settings.scratch);
    this.#roots = await resolveRoots(this.#settings.roots);
    const wrong = await this.#clock.begin();
    if (wrong) this.#context.warn(wrong);
    // Before any job is taken: a machine that cannot compute must not fail jobs that others can do.
    const child = await this.#children.take();
    this.#backend = child.backend;
    this.#context.note(`backend ${child.backend}: ${child.why}`);
    this.#children.give(child, true);
    await this.#queues.refresh();
    await this.#heartbeat.begin();
    this.#timers.push(
      every(REFRESH, () => this.#queues.refresh()),
      every(CANCEL, () => haltCancelled(this.connection, this.#slots.values(), this.#grace)),
    );
    const { signal } = this.#context;
    if (signal.aborted) void this.close();
    signal.addEventListener('abort', () => void this.close(), { once: true });
    this.#looking = this.#look().catch((error) => this.#giveUp(error));
  }

  /** Undoes what a failed start has begun. */
  async abandon(): Promise<void> {
    this.#children.kill();
    this.#clock.close();
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
    const { drained, why } = await leftFor(this.connection, this.#queues.names, this.#queues.all);
    if (why !== '' && why !== this.#left) this.#context.note(why);
    this.#left = why;
    return drained;
  }

  #begin(taken: TakenJob): void {
    const { job, token, worker } = taken;
    const place = { id: this.id, host: hostname(), pid: process.pid, child: 0 };
    const slot = new Slot(taken, new JobReport(job, place));
    this.#slots.set(token, slot);
    this.#counts.begun++;
    const begun = job.attemptsStarted > 1 ? `begun (start ${job.attemptsStarted})` : 'begun';
    this.#context.note(`${slot.id}: ${begun}`);
    slot.report.log(`${begun} by worker ${this.id}`);
    if (this.#closing) this.#halt(slot);
    // Redis took long to answer: much of the lock's time is over already.
    if (taken.until - monotonic() < 0.75 * this.#settings.lockMilliseconds) void worker.keeper.renew();
    void worker
      .work(taken)
      .then(() => forgetRequest(this.connection, slot))
      .catch((error) => this.#context.warn(`${slot.id}: ${(error as Error).message}`))
      .finally(() => this.#ended(slot));
  }

  #ended(slot: Slot): void {
    const { job, token } = slot.taken;
    this.#slots.delete(token);
    slot.report.end();
    const end = slot.end ?? { type: 'failed', text: `failed: ${job.failedReason ?? 'for no known reason'}` };
    this.#counts[end.type]++;
    if (end.type !== 'handed back') this.#pauses.forget(slot.id);
    const line = `${slot.id}: ${end.text} (${took(performance.now() - slot.began)})`;
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
      roots: this.#roots,
      pause: (id) => this.#pauses.next(id),
      childStarted: (error) => this.#childStarted(error),
    });
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
    this.#clock.close();
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

  record() {
    return {
      id: this.id,
      host: hostname(),
      pid: process.pid,
      unfold: packageVersion(),
      stages: [...(this.#settings.stages ?? [])],
      tags: [...this.#settings.tags],
      roots: [...this.#roots],
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

function took(milliseconds: number): string {
  return milliseconds < 60_000 ? `${(milliseconds / 1000).toFixed(1)} s` : duration(milliseconds / 1000);
}
