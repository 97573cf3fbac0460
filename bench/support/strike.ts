/**
 * @file One try of a command of `unfold` that a signal strikes after some time, and what is left when it has been run to its
 * end: shared by the strikes on whole runs (kills.ts) and on single commands (kill-commands.ts).
 */
import { spawn } from 'node:child_process';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../src/random.ts';
import { differences } from '../../test/support/same-bytes.ts';

const ROOT = join(import.meta.dirname, '../..');
const SIGNALS = ['SIGKILL', 'SIGKILL', 'SIGTERM', 'SIGINT', 'SIGSTOP'] as const;
/** Of the time that an undisturbed try takes: later strikes would mostly find nothing to hit. */
const SPREAD = 0.95;

/** A signal, and milliseconds until it is sent. */
export interface Strike {
  signal: (typeof SIGNALS)[number];
  after: number;
}

/** What came of it. */
export interface Struck {
  /** Runs brought to their end, and the strikes that hit a process on the way, by signal. */
  runs: number;
  strikes: Record<string, number>;
  /** "run 3: train/…: differs". */
  differing: string[];
  /** Unfinished files, locks and clocks in finished runs. */
  leftovers: string[];
  /** Ends of the last, undisturbed try with another exit code than 0. */
  failures: string[];
}

/** A command that writes below `work`, and nothing elsewhere but into the cache. */
export interface Target {
  name: string;
  args: readonly string[];
  work: string;
  cache: string;
}

export const newStruck = (): Struck => ({
  runs: 0,
  strikes: {},
  differing: [],
  leftovers: [],
  failures: [],
});

export function randomStrike(random: Random, lasts: number): Strike {
  return { signal: SIGNALS[random.below(SIGNALS.length)]!, after: random.float() * lasts * SPREAD };
}

/** Strikes, so many times, and counts those that hit. */
export async function strikeAt(target: Target, strikes: readonly Strike[], struck: Struck): Promise<void> {
  for (const strike of strikes) {
    if ((await attempt(target, strike)) === undefined) continue;
    struck.strikes[strike.signal] = (struck.strikes[strike.signal] ?? 0) + 1;
  }
}

/** Runs the struck one to its end and compares it. */
export async function judge(target: Target, undisturbed: string, struck: Struck): Promise<void> {
  struck.runs++;
  const name = `${target.name} ${struck.runs}`;
  const code = await attempt(target);
  if (code !== 'ended well') struck.failures.push(`${name}: ${String(code)}`);
  const ended = `${target.work}-ended`;
  await rm(ended, { recursive: true, force: true });
  await rename(target.work, ended);
  struck.differing.push(...(await differences(ended, undisturbed)).map((words) => `${name}: ${words}`));
  const names = await readdir(ended, { recursive: true });
  const left = names.filter((file) => /(^|\/)\.(lock|seconds)|\.part(\/|$)/.test(file));
  struck.leftovers.push(...left.map((file) => `${name}: ${file}`));
}

/** One try; undefined if it ended before it was struck, else how it ended. */
export async function attempt(
  { args: words, cache }: Pick<Target, 'args' | 'cache'>,
  strike?: Strike,
): Promise<string | undefined> {
  const args = [join(ROOT, 'bin/unfold.js'), ...words];
  const env = { ...process.env, UNFOLD_CACHE: cache };
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: 'ignore' });
  const ended = new Promise<string>((resolve) =>
    child.on('close', (code, signal) =>
      resolve(code === 0 ? 'ended well' : `${signal ?? `exit code ${code}`}`),
    ),
  );
  if (!strike) return ended;
  const first = await Promise.race([ended, sleep(strike.after, undefined, { ref: false })]);
  if (first !== undefined) return undefined;
  child.kill(strike.signal);
  if (strike.signal === 'SIGSTOP') {
    await sleep(300);
    child.kill('SIGCONT');
  }
  return ended;
}
