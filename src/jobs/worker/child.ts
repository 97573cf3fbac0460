/**
 * @file A child process as its worker sees it: started with a backend, given one job at a time, told to stop, ended. What it
 * prints is kept for the case that it crashes.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Writable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { UnfoldError } from '../../errors.ts';
import { shownText } from '../../shown-url.ts';
import type { JobMessage } from '../message.ts';
import { type FromChild, type JobFailure, LEASE_PIPE, type ToChild } from '../protocol.ts';
import type { Roots } from '../roots.ts';

/** What a child said last about its job; `gone`: it died without a word. */
export type ChildEnd = Extract<FromChild, { type: 'outcome' | 'failure' }> | { type: 'gone'; how: string };

/** What it says meanwhile. */
export type ChildNews = Extract<FromChild, { type: 'progress' | 'log' }>;

/** A job for a child. */
export interface Assignment {
  id: string;
  message: JobMessage;
  /** Milliseconds of the monotonic clock (lease.ts). */
  lease: number;
  scratch: string;
  roots: Roots;
}

/** Lines of output that are kept. */
const KEPT_LINES = 50;

/** Milliseconds from asking an idle child to leave to killing it. */
const LEAVE_TIME = 3000;

/** See the file's comment. */
export class Child {
  readonly pid: number;
  readonly #process: ChildProcess;
  readonly #pipe: Writable;
  readonly #lines: string[] = [];
  readonly #exit: Promise<string>;
  #backend = '';
  #why = '';
  #sequence = 0;
  #rss = 0;
  #hear: (message: FromChild) => void = () => {};

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.pid = process.pid ?? 0;
    this.#pipe = process.stdio[LEASE_PIPE] as Writable;
    // A child that dies breaks both; its exit is what counts.
    this.#pipe.on('error', () => {});
    process.on('error', () => {});
    process.on('message', (message: FromChild) => this.#hear(message));
    process.stdout?.on('data', (text: Buffer) => this.#keep(text));
    process.stderr?.on('data', (text: Buffer) => this.#keep(text));
    this.#exit = new Promise((resolve) => {
      process.once('close', (code, signal) => resolve(ending(code, signal)));
      // Closed by nobody else: a pipe to write to does not notice that its reader is gone.
      process.once('exit', () => this.#pipe.destroy());
      // Whatever else has its output open is not waited for.
      process.once('exit', (code, signal) => setTimeout(() => resolve(ending(code, signal)), 300).unref());
      process.once('error', (error) => resolve(`could not be started: ${error.message}`));
    });
  }

  /**
   * Starts a process; resolves when its backend is open.
   * @throws UnfoldError `no-backend` and others of useBackend, `no-child` if it ended before that
   */
  static async start(backend: string): Promise<Child> {
    const main = fileURLToPath(new URL(`./child-main${extension()}`, import.meta.url));
    const child = new Child(spawnChild(main, backend));
    try {
      await child.#ready();
      return child;
    } catch (error) {
      child.kill();
      throw error;
    }
  }

  get backend(): string {
    return this.#backend;
  }

  /** Why this backend, for a person. */
  get why(): string {
    return this.#why;
  }

  /** The last lines that it printed. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  get alive(): boolean {
    return this.#process.connected && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Bytes of memory, as the system says, else as the child said last. */
  get rss(): number {
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
      return 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? this.#rss / 1024);
    } catch {
      return this.#rss;
    }
  }

  /** Resolves when it is gone, with how. */
  get gone(): Promise<string> {
    return this.#exit;
  }

  /** Does a job. Never rejects. */
  async run(assignment: Assignment, news: (news: ChildNews) => void): Promise<ChildEnd> {
    const { id, message, lease, ...places } = assignment;
    this.#lines.length = 0;
    this.#sequence++;
    const said = new Promise<ChildEnd>((resolve) => {
      this.#hear = (message) => {
        if (message.type === 'outcome' || message.type === 'failure') return resolve(message);
        if (message.type === 'progress') this.#rss = message.progress.memory?.rss_bytes ?? this.#rss;
        if (message.type !== 'ready') news(message);
      };
    });
    this.#send({ type: 'run', id, message, sequence: this.#sequence, lease: micros(lease), ...places });
    const end = await Promise.race([said, this.#exit.then((how): ChildEnd => ({ type: 'gone', how }))]);
    this.#hear = () => {};
    return end;
  }

  /** The job's lock was renewed. */
  renew(lease: number): void {
    if (this.#pipe.writable) this.#pipe.write(`${this.#sequence} ${micros(lease)}\n`);
  }

  /** Asks it to stop after the unit in hand. */
  abort(reason: string): void {
    this.#send({ type: 'abort', reason });
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  /** Ends an idle child; resolves when it is gone. */
  async close(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    const timer = setTimeout(() => this.kill(), LEAVE_TIME);
    await this.#exit;
    clearTimeout(timer);
  }

  async #ready(): Promise<void> {
    const said = new Promise<void>((resolve, reject) => {
      this.#hear = (message) => {
        if (message.type === 'failure') reject(failureError(message.failure));
        if (message.type !== 'ready') return;
        this.#backend = message.backend;
        this.#why = message.why;
        resolve();
      };
    });
    const early = this.#exit.then((how) => {
      throw noChild(`${how}${this.#lines.length > 0 ? `: ${this.#lines.slice(-5).join(' | ')}` : ''}`);
    });
    await Promise.race([said, early]);
    early.catch(() => {});
  }

  #send(message: ToChild): void {
    if (this.#process.connected) this.#process.send(message, () => {});
  }

  #keep(text: Buffer): void {
    for (const line of shownText(text.toString('utf8')).split('\n'))
      if (line.trim() !== '') this.#lines.push(line);
    this.#lines.splice(0, this.#lines.length - KEPT_LINES);
  }
}

function spawnChild(main: string, backend: string): ChildProcess {
  try {
    return fork(main, [backend], {
      execArgv: nodeOptions(),
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
    });
  } catch (cause) {
    throw noChild((cause as Error).message, cause);
  }
}

function noChild(found: string, cause?: unknown): UnfoldError {
  return new UnfoldError('no-child', {
    where: 'starting a process for jobs',
    expected: 'it to open its backend',
    found,
    todo: 'see that there is memory to spare, and that unfold doctor is content',
    cause,
  });
}

/** An error that came through JSON, as an error again. */
export function failureError({ kind, message, lesson, stack }: JobFailure): Error {
  if (lesson) return new UnfoldError(kind, lesson);
  const error = new Error(message);
  if (stack) error.stack = stack;
  return error;
}

function ending(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal === 'SIGKILL' || signal === 'SIGABRT') return `was killed by ${signal}, perhaps out of memory`;
  if (signal) return `was killed by ${signal}`;
  return `ended by itself with exit code ${code}`;
}

function micros(milliseconds: number): number {
  return Math.floor(milliseconds * 1000);
}

/** `.ts` in a clone, `.js` in the package. */
function extension(): string {
  return import.meta.url.endsWith('.ts') ? '.ts' : '.js';
}

/** Node's own options for the child: limits of memory and the like go on; TypeScript needs tsx. */
function nodeOptions(): string[] {
  const kept = process.execArgv.filter((option) =>
    /^--(max-|stack-|trace-|expose-gc|no-warnings)/.test(option),
  );
  if (extension() === '.js') return kept;
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  return [...kept, '--import', tsx];
}
