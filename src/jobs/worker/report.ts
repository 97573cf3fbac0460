/**
 * @file What a worker writes to Redis about a job in hand: its progress, at most twice a second and only the newest, and the
 * lines of its log. Redis may be slow or away; work does not wait for it, and what piles up is bounded.
 */
import type { Job } from 'bullmq';
import { shownText } from '../../shown-url.ts';
import type { JobProgress } from '../progress.ts';

/** Milliseconds between two writes of progress. */
const INTERVAL = 500;

/** Lines that a job's log keeps, and that wait for Redis at most. */
const KEPT_LINES = 1000;

/** Milliseconds that the end of a job waits for what is still to be written. */
const FLUSH_TIME = 3000;

/** Where a job is done. */
export type WorkerPlace = NonNullable<JobProgress['worker']>;

/** See the file's comment. */
export class JobReport {
  readonly #job: Job;
  readonly #attempt: number;
  #worker: WorkerPlace;
  #progress: JobProgress;
  #next: JobProgress | undefined;
  #lines: string[] = [];
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #last = Number.NEGATIVE_INFINITY;
  #ended = false;

  constructor(job: Job, worker: WorkerPlace) {
    this.#job = job;
    this.#worker = worker;
    this.#attempt = job.attemptsStarted;
    const { failure: _, ...before } = (typeof job.progress === 'object' ? job.progress : {}) as JobProgress;
    this.#progress = before;
  }

  progress(progress: JobProgress): void {
    const memory = progress.memory ?? this.#progress.memory;
    this.#progress = { ...progress, ...(memory && { memory }) };
    this.#next = { ...this.#progress, worker: this.#worker, attempt: this.#attempt };
    this.#soon();
  }

  /** Adds to what is known, e.g. why it failed. */
  add(progress: JobProgress): void {
    this.progress({ ...this.#progress, ...progress });
  }

  /** The process that computes it. */
  child(pid: number): void {
    this.#worker = { ...this.#worker, child: pid };
    this.add({});
  }

  log(text: string, level: 'note' | 'warn' = 'note'): void {
    const at = new Date().toISOString();
    const mark = level === 'warn' ? 'warning: ' : '';
    for (const line of shownText(text).split('\n')) this.#lines.push(`${at} ${mark}${line}`);
    this.#lines.splice(0, this.#lines.length - KEPT_LINES);
    this.#soon(0);
  }

  /** Writes what is left; gives up soon if Redis does not answer. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let late: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => (late = setTimeout(resolve, FLUSH_TIME)));
    await Promise.race([this.#writeAll(), limit]);
    clearTimeout(late);
  }

  /** Nothing more is written: the job is not ours any more. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  #soon(wait = Math.max(0, this.#last + INTERVAL - performance.now())): void {
    if (this.#ended || this.#writing) return;
    if (wait === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      void this.#writeAll();
    } else this.#timer ??= setTimeout(() => this.#soon(0), wait);
  }

  async #writeAll(): Promise<void> {
    while (this.#writing) await this.#writing;
    if (this.#ended || (!this.#next && this.#lines.length === 0)) return;
    this.#writing = this.#write().catch(() => undefined);
    await this.#writing;
    this.#writing = undefined;
    if (this.#next || this.#lines.length > 0) this.#soon();
  }

  async #write(): Promise<void> {
    const lines = this.#lines;
    const progress = this.#next;
    this.#lines = [];
    this.#next = undefined;
    this.#last = performance.now();
    const { backend } = this.#job as unknown as { backend: LogWriter };
    const keep = this.#job.opts.keepLogs ?? KEPT_LINES;
    await Promise.all(lines.map((line) => backend.addLog(this.#job.id ?? '', line, keep)));
    if (progress) await this.#job.updateProgress(progress);
  }
}

/** BullMQ's way to add to a log with a limit of our own. */
interface LogWriter {
  addLog(id: string, line: string, keep: number): Promise<unknown>;
}
