/** @file A process that reads damaged files, watched from outside: killed when it is silent, started anew when it is gone. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Tally } from '../mutations.ts';
import type { Ask, Say } from './mutation-child.ts';

const START_MS = 60_000;

const CHILD = fileURLToPath(new URL('mutation-child.ts', import.meta.url));

type Subjects = Extract<Say, { subjects: unknown }>['subjects'];

/** The process and whoever took its place. */
export class Watched {
  readonly #folder: string;
  readonly #silence: number;
  #child: ChildProcess | undefined;
  #subjects: Subjects | undefined;

  /** @param silence milliseconds without a word after which it hangs */
  constructor(folder: string, silence: number) {
    this.#folder = folder;
    this.#silence = silence;
  }

  /** What there is to try. */
  async subjects(): Promise<Subjects> {
    if (!this.#child) await this.#start();
    return this.#subjects!;
  }

  /** Tries a part; what follows a hang or an abort in it is not tried. */
  async try(ask: Ask | { last: string }): Promise<Tally> {
    await this.subjects();
    const child = this.#child!;
    const [said, ending] = await this.#exchange(child, ask);
    const next = said.flatMap((message) => ('next' in message ? [message.next] : []));
    const result = said.find((message) => 'faults' in message);
    if (result) {
      const { read, refused, faults } = result;
      const counts = { tried: read + refused + faults.length, good: read, lessons: refused };
      return { ...counts, internal: faults.length, hangs: 0, aborts: 0, faults };
    }
    this.#child = undefined;
    const isHang = ending === 'silent';
    const faults = [`${next.at(-1)}: ${isHang ? 'hangs' : `the process ended (${ending})`}`];
    const counts = { good: 0, lessons: 0, internal: 0 };
    return { tried: 1, ...counts, hangs: isHang ? 1 : 0, aborts: isHang ? 0 : 1, faults };
  }

  end(): void {
    this.#child?.kill('SIGKILL');
  }

  async #start(): Promise<void> {
    const env = { ...process.env, UNFOLD_MUTATIONS_DIR: this.#folder };
    const child = fork(CHILD, [], {
      execArgv: ['--import', 'tsx'],
      env,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const [said, ending] = await this.#exchange(child);
    const first = said.find((message) => 'subjects' in message);
    if (!first) throw new Error(`the process that reads damaged files did not start (${ending})`);
    this.#subjects = first.subjects;
    this.#child = child;
  }

  /** Sends `ask` and listens until the answer, the end of the process, or silence, which is ended. */
  #exchange(child: ChildProcess, ask?: Ask | { last: string }): Promise<[Say[], string]> {
    return new Promise((resolve) => {
      const said: Say[] = [];
      const done = (ending: string) => {
        clearTimeout(timer);
        child.removeAllListeners();
        resolve([said, ending]);
      };
      const silent = () => {
        child.kill('SIGKILL');
        done('silent');
      };
      // A start takes seconds on a busy machine.
      const patience = ask ? this.#silence : START_MS;
      let timer = setTimeout(silent, patience);
      child.on('message', (message: Say) => {
        said.push(message);
        clearTimeout(timer);
        timer = setTimeout(silent, patience);
        if (!('next' in message)) done('answered');
      });
      child.on('exit', (code, signal) => done(signal ?? `exit ${code}`));
      if (ask) child.send(ask);
    });
  }
}
