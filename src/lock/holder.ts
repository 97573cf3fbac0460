/**
 * @file Who holds a lock, as its file says, and whether that process is still there. A pid means something only where it
 * can be looked up: under the same boot of the same kernel and in the same pid namespace. Host names do not tell that
 * (two containers may both be `trainer`, with pid 1), so the boot id and the namespace do. Everybody else is judged by
 * heartbeats alone (watch.ts). Times in the file are for people: no clock is ever compared with another machine's.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Contents of a lock file. */
export interface Holder {
  host: string;
  pid: number;
  /** Start time of the process where the system tells: a recycled pid is then not mistaken for the holder. */
  born?: string;
  /** Boot id of the kernel and pid namespace, where the system tells. */
  boot?: string;
  namespace?: string;
  /** Of this one lock. */
  token?: string;
  /** Wall clock of the holder. */
  since?: string;
  /** Rewritten with a higher number every few seconds; of fixed width, so that the file never changes its length. */
  beat?: string;
  /** What is held, where that is not the whole folder. */
  first?: number;
  last?: number;
}

/** A lock file as it was read; `holder` undefined: it is empty or does not parse. */
export interface Look {
  text: string;
  holder: Holder | undefined;
}

const BOOT = attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
const NAMESPACE = attempt(() => readlinkSync('/proc/self/ns/pid'));

/** Short name of where pids are those that this process knows. */
export const PLACE = createHash('sha256')
  .update(`${hostname()} ${BOOT} ${NAMESPACE}`)
  .digest('hex')
  .slice(0, 6);

/** Start time of a process where the system tells. */
export function bornOf(pid: number): string | undefined {
  return processState(pid)?.born;
}

/** True if there is no such process here any more; `born` tells it from a later one of the same number. */
export function isGone(pid: number, born: string | undefined): boolean {
  const state = processState(pid);
  return state?.isDead || (born !== undefined && born !== state?.born) || !answers(pid);
}

/** A new lock of this process. */
export function thisHolder(more: Pick<Holder, 'first' | 'last'> = {}): Holder & { token: string } {
  return {
    ...more,
    host: hostname(),
    pid: process.pid,
    born: bornOf(process.pid),
    boot: BOOT,
    namespace: NAMESPACE,
    token: randomBytes(6).toString('hex'),
    since: new Date().toISOString(),
  };
}

/** What a lock file says; undefined where there is none. */
export function look(path: string): Look | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESTALE'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  return { text, holder: parseHolder(text) };
}

function parseHolder(text: string): Holder | undefined {
  const value = attempt(() => JSON.parse(text) as Partial<Holder> | null);
  const isWhole = typeof value?.host === 'string' && Number.isInteger(value.pid) && value.pid! > 0;
  return isWhole ? (value as Holder) : undefined;
}

/** `gone` and `there` are certain; `elsewhere`: a process that cannot be looked up from here. */
export function whereabouts(holder: Holder, mine: ReadonlySet<string>): 'there' | 'gone' | 'elsewhere' {
  if (!isHere(holder)) return 'elsewhere';
  const { pid, born, token } = holder;
  if (isGone(pid, born)) return 'gone';
  // Our own number in a file may be a dead process's of an earlier container.
  if (pid === process.pid) return mine.has(token ?? '') ? 'there' : 'gone';
  return 'there';
}

/** True if the holder's pid can be looked up by this process. */
function isHere({ host, boot, namespace }: Holder): boolean {
  return host === hostname() && (boot === undefined || (boot === BOOT && namespace === NAMESPACE));
}

/** True if the process of a holder on this machine has been stopped (SIGSTOP, Ctrl-Z). */
export function isStopped(holder: Holder): boolean {
  return isHere(holder) && (processState(holder.pid)?.isStopped ?? false);
}

function answers(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It lives, under another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Fields 3 and 22 of /proc/PID/stat; undefined where there is no /proc or no such process. A zombie is dead. */
function processState(pid: number): { born: string; isDead: boolean; isStopped: boolean } | undefined {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state = ''] = fields;
  return { born: fields[19] ?? '', isDead: 'ZXx'.includes(state), isStopped: 'Tt'.includes(state) };
}

function attempt<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}
