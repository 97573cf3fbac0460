/**
 * @file A Redis of one's own: started on a Unix socket when a queue is asked for and none is named. It outlives the command
 * that started it, writes an append-only file, and is reused by every later command. Left out: reaching it from another
 * machine; that takes a Redis with a URL.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { writeJson } from '../../files.ts';
import { pasteable } from '../../invocation.ts';
import { type Lock, lockDirectory } from '../../lock.ts';
import { ask } from './ask.ts';
import { findServer } from './find-server.ts';
import {
  isThisMachine,
  makePrivateFolder,
  type PrivatePlace,
  privatePlace,
  readRecord,
  type ServerRecord,
  thisMachine,
} from './place.ts';

/** Milliseconds for another command that is starting the server, and for a server to begin answering. */
const PATIENCE = 30_000;
const PAUSE = 50;
/** Written by Redis. */
const PID_FILE = 'redis.pid';

/** The server that is there now. */
export interface PrivateServer {
  url: string;
  folder: string;
  /** True if it was started by this call. */
  started: boolean;
}

/**
 * The private server, started if it does not run; returns when it answers and has loaded its data.
 * @throws UnfoldError `no-redis` if redis-server is not installed, does not start or does not answer
 */
export async function startPrivateServer(
  context: StageContext,
  place: PrivatePlace = privatePlace(),
): Promise<PrivateServer> {
  const found = { url: place.url, folder: place.folder };
  await makePrivateFolder(place.folder);
  const end = Date.now() + PATIENCE;
  for (;;) {
    if (await isThere(place, context)) return { ...found, started: false };
    const lock = await tryLock(place.folder, context, Date.now() > end);
    if (lock === undefined) {
      await sleep(PAUSE, undefined, { signal: context.signal });
      continue;
    }
    try {
      if (await isThere(place, context)) return { ...found, started: false };
      await start(place, context);
      return { ...found, started: true };
    } finally {
      await lock.release();
    }
  }
}

/** The lock, or undefined while another command starts the server. */
async function tryLock(folder: string, { signal }: StageContext, last: boolean): Promise<Lock | undefined> {
  try {
    return await lockDirectory(folder, { signal });
  } catch (error) {
    if (!last && error instanceof UnfoldError && error.kind === 'locked') return undefined;
    throw error;
  }
}

/** True if the server answers; waits while it loads. */
async function isThere(place: PrivatePlace, context: StageContext): Promise<boolean> {
  for (let told = false; ; ) {
    const answer = await ask(place.socket);
    if (answer === 'ready') return true;
    if (answer === 'gone') return false;
    if (answer === 'silent') throw doesNotAnswer(place, await readRecord(place));
    if (!told) context.note('the private Redis is loading its data');
    told = true;
    await sleep(PAUSE, undefined, { signal: context.signal });
  }
}

async function start(place: PrivatePlace, context: StageContext): Promise<void> {
  const program = await findServer();
  await endOrphan(place, context);
  await makePrivateFolder(dirname(place.socket));
  await rm(place.socket, { force: true });
  const child = spawn(program, argumentsOf(place), { detached: true, stdio: 'ignore', cwd: place.folder });
  let ended: string | undefined;
  child.once('exit', (code, signal) => (ended = `it ended with ${signal ?? `code ${code}`}`));
  child.once('error', (error) => (ended = error.message));
  child.unref();
  const record: ServerRecord = { ...thisMachine(), pid: child.pid ?? 0, started: new Date().toISOString() };
  await writeJson(place.record, record);
  await untilAnswer(place, context, child, () => ended);
  context.note(
    `started a private Redis in ${place.folder} (process ${child.pid}); to end it: ${pasteable('unfold queue stop')}`,
  );
}

function argumentsOf({ folder, socket, log }: PrivatePlace): string[] {
  return [
    ...['--port', '0', '--unixsocket', socket, '--unixsocketperm', '700', '--daemonize', 'no'],
    ...['--dir', folder, '--logfile', log, '--pidfile', join(folder, PID_FILE)],
    // On the disk before each answer. "everysec" puts writes off while the disk is slow, and kill -9 then loses what was
    // answered; jobs are few and long, so that the time of a flush does not matter.
    ...['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'],
    ...['--maxmemory-policy', 'noeviction'],
  ];
}

async function untilAnswer(
  place: PrivatePlace,
  context: StageContext,
  child: ChildProcess,
  ended: () => string | undefined,
): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (ended() === undefined) {
    if ((await ask(place.socket)) === 'gone') {
      if (Date.now() > end) break;
      await sleep(PAUSE, undefined, { signal: context.signal });
    } else if (await isThere(place, context)) return;
  }
  child.kill();
  await rm(place.record, { force: true });
  throw new UnfoldError('no-redis', {
    where: `${child.spawnfile} for the private queue in ${place.folder}`,
    expected: 'a server that starts',
    found: `${ended() ?? `no answer in ${PATIENCE / 1000} s`}: ${await lastLines(place.log)}`,
    todo: `see ${place.log}; or name a Redis that runs: --queue redis://host`,
  });
}

/**
 * Before a second server may write to the same files: one whose socket was removed is ended in order (it saves); one on
 * another machine cannot be seen from here and forbids it.
 */
async function endOrphan(place: PrivatePlace, context: StageContext): Promise<void> {
  const record = await readRecord(place);
  if (record && !isThisMachine(record)) throw elsewhere(place, record);
  const pid = record?.pid ?? Number(await readFile(join(place.folder, PID_FILE), 'utf8').catch(() => 0));
  if (!isOurs(pid, place)) return;
  context.note(`the private Redis (process ${pid}) lost its socket: restarting it`);
  const end = Date.now() + PATIENCE;
  process.kill(pid, 'SIGTERM');
  while (isOurs(pid, place)) {
    if (Date.now() > end) throw doesNotAnswer(place, record);
    await sleep(PAUSE, undefined, { signal: context.signal });
  }
}

/** True if that process lives and is a server with our socket: a pid is soon somebody else's. */
function isOurs(pid: number, place: PrivatePlace): boolean {
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // Redis rewrites its title: "redis-server unixsocket:/path/redis.sock".
  return titleOf(pid).includes(place.socket);
}

function titleOf(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return execFileSync('ps', ['-p', String(pid), '-o', 'command='], { encoding: 'utf8' });
  } catch {
    return '';
  }
}

async function lastLines(log: string): Promise<string> {
  const text = await readFile(log, 'utf8').catch(() => '(no log)');
  return text.trimEnd().split('\n').slice(-3).join(' | ');
}

function doesNotAnswer(place: PrivatePlace, record: ServerRecord | undefined): UnfoldError {
  return new UnfoldError('no-redis', {
    where: place.socket,
    expected: 'the private Redis to answer',
    found: `silence${record ? ` from process ${record.pid}` : ''} (paused, or a disk that hangs)`,
    todo: record
      ? `kill -CONT ${record.pid} if it was paused; else kill -9 ${record.pid}: its file keeps every job`
      : 'end that redis-server; its file keeps every job',
  });
}

function elsewhere(place: PrivatePlace, record: ServerRecord): UnfoldError {
  return new UnfoldError('no-redis', {
    where: place.folder,
    expected: 'a private Redis of this machine',
    found: `that of ${record.host} (process ${record.pid}, since ${record.started}): the folder is shared, a socket is not`,
    todo: `for several machines, name one Redis: --queue redis://${record.host}; for a queue of this machine alone, set UNFOLD_STATE to a local folder; if ${record.host} no longer runs it, rm ${place.record}`,
  });
}
