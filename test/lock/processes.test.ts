/** @file Locks between processes: eight contenders, a killed holder, a stopped one, one that is only known by heartbeats. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { UnfoldError } from '../../src/errors.ts';
import type { Holder } from '../../src/lock/holder.ts';
import { lockDirectory, lockShards } from '../../src/lock.ts';

let dir: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unfold-lock-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

const contenderFile = join(import.meta.dirname, 'contender.ts');

function contender(...args: string[]): ChildProcess {
  const child = spawn(process.execPath, ['--import', 'tsx', contenderFile, dir, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

async function holder(...args: string[]): Promise<ChildProcess> {
  const child = contender('0', ...args);
  await once(child.stdout!, 'data');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

const read = async (path: string) => JSON.parse(await readFile(path, 'utf8')) as Holder;

/** A holder that cannot be looked up from here. */
const elsewhere: Holder = {
  host: 'elsewhere',
  pid: 1,
  boot: 'another-boot',
  token: 'abcdef012345',
  since: '2001-01-01T00:00:00.000Z',
  beat: '0000000007',
};

test('eight processes, one inside at a time, also where they start at a dead holder’s lock', async () => {
  await kill(await holder());
  await writeFile(join(dir, 'count'), '0');
  const all = Array.from({ length: 8 }, () => contender('25'));
  const codes = await Promise.all(all.map(async (child) => (await once(child, 'exit'))[0] as number));
  expect(codes).toEqual(new Array(8).fill(0));
  expect(await readFile(join(dir, 'count'), 'utf8')).toBe('200');
  expect(await readdir(dir)).toEqual(['count']);
}, 60_000);

test('eight processes at ranges that overlap, one inside at a time', async () => {
  await kill(await holder('0-7'));
  await writeFile(join(dir, 'count'), '0');
  const all = Array.from({ length: 8 }, (_, i) => contender('10', `${i % 3}-${4 + i}`));
  const codes = await Promise.all(all.map(async (child) => (await once(child, 'exit'))[0] as number));
  expect(codes).toEqual(new Array(8).fill(0));
  expect(await readFile(join(dir, 'count'), 'utf8')).toBe('80');
  expect(await readdir(dir)).toEqual(['count']);
}, 60_000);

test('a killed holder is succeeded at once, a stopped one is not, and the refusal says how to go on', async () => {
  const child = await holder();
  child.kill('SIGSTOP');
  const found = async () =>
    lockDirectory(dir).catch((error: UnfoldError) => `${error.kind}: ${error.lesson.found}`);
  const how = `process ${child.pid} on ${hostname()} (stopped: kill -CONT ${child.pid} lets it go on)`;
  await expect.poll(found).toMatch(`locked: ${how}`);
  await kill(child);
  const began = performance.now();
  await (await lockDirectory(dir)).release();
  expect(performance.now() - began).toBeLessThan(1000);
});

test('a heartbeat goes on while the lock is held, and a waiter gets it when it is given back', async () => {
  const lock = await lockDirectory(dir, { beat: 10 });
  const { beat } = await read(join(dir, '.lock'));
  await expect
    .poll(async () => Number((await read(join(dir, '.lock'))).beat))
    .toBeGreaterThan(Number(beat) + 3);
  const waiting = lockDirectory(dir, { wait: 10_000, poll: 5 });
  await sleep(30);
  await lock.release();
  await (await waiting).release();
  expect(await readdir(dir)).toEqual([]);
});

test('waiting ends with its bound, and with the signal', async () => {
  const lock = await lockDirectory(dir);
  await expect(lockDirectory(dir, { wait: 50, poll: 10 })).rejects.toMatchObject({ kind: 'locked' });
  const stop = new AbortController();
  const waiting = lockDirectory(dir, { wait: 60_000, signal: stop.signal });
  stop.abort(new Error('Ctrl-C'));
  await expect(waiting).rejects.toThrow();
  await lock.release();
});

test('another machine’s lock whose counter stands still is taken over, whatever any clock says', async () => {
  const path = join(dir, '.lock');
  for (const minutes of [-600, 0, 600]) {
    await writeFile(path, JSON.stringify({ ...elsewhere, token: `abc${minutes + 600}` }));
    const then = new Date(Date.now() + minutes * 60_000);
    await utimes(path, then, then);
    const notes: string[] = [];
    const options = { deadAfter: 1_500, poll: 20, note: (text: string) => void notes.push(text) };
    const began = performance.now();
    const lock = await lockDirectory(dir, options);
    expect(performance.now() - began).toBeGreaterThan(1_400);
    expect(notes.join()).toMatch(/waiting: process 1 on elsewhere/);
    await lock.release();
  }
  expect(await readdir(dir)).toEqual([]);
});

test('another machine’s lock is respected as soon as its counter moves, though its file looks hours old', async () => {
  const path = join(dir, '.lock');
  let beat = 0;
  const write = async () => {
    await writeFile(path, JSON.stringify({ ...elsewhere, beat: String(beat++) }));
    await utimes(path, new Date(0), new Date(0));
  };
  await write();
  const beating = setInterval(() => void write(), 100);
  try {
    const began = performance.now();
    await expect(lockDirectory(dir, { deadAfter: 5_000, poll: 20 })).rejects.toThrow(
      /process 1 on elsewhere/,
    );
    expect(performance.now() - began).toBeLessThan(2_000);
  } finally {
    clearInterval(beating);
    await sleep(50);
  }
});

test('two containers of one name and both with pid 1 are two machines; so is this one before it was booted', async () => {
  const twin = { ...elsewhere, host: hostname(), pid: process.pid };
  await writeFile(join(dir, '.lock'), JSON.stringify(twin));
  const began = performance.now();
  const lock = await lockDirectory(dir, { deadAfter: 300, poll: 10 });
  expect(performance.now() - began).toBeGreaterThan(290);
  await lock.release();
});

test('ranges of another machine are judged by heartbeats too, while others can be had', async () => {
  const path = join(dir, '.lock-0-4');
  await writeFile(path, JSON.stringify({ ...elsewhere, first: 0, last: 4 }));
  const waiting = lockShards(dir, { first: 4, last: 5 }, { deadAfter: 600, poll: 10 });
  (await lockShards(dir, { first: 6, last: 9 }))();
  (await waiting)();
  expect(await readdir(dir)).toEqual([]);
});

test('an empty or a spoilt lock file counts for a few seconds, then no more', async () => {
  for (const text of ['', '{"host": 1, "pid": "x"}']) {
    await writeFile(join(dir, '.lock'), text);
    await (await lockDirectory(dir, { poll: 20 })).release();
  }
  expect(await readdir(dir)).toEqual([]);
}, 30_000);

test('who was taken for dead and wakes up is told, and leaves its successor’s lock alone', async () => {
  const lock = await lockDirectory(dir, { beat: 20 });
  const successor = { ...elsewhere, token: '111111111111' };
  await rm(join(dir, '.lock'));
  await writeFile(join(dir, '.lock'), JSON.stringify(successor));
  await expect.poll(() => lock.signal.aborted).toBe(true);
  expect(lock.signal.reason).toMatchObject({ kind: 'locked' });
  await lock.release();
  expect(await read(join(dir, '.lock'))).toEqual(successor);
});
