/** @file The private server: one for all commands, kept through crashes, never two on one file. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { chmod, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { UnfoldError } from '../../../src/errors.ts';
import { ask } from '../../../src/jobs/redis/ask.ts';
import { openQueue } from '../../../src/jobs/redis/open.ts';
import { isThisMachine, type PrivatePlace, privatePlace, readRecord } from '../../../src/jobs/redis/place.ts';
import { startPrivateServer } from '../../../src/jobs/redis/private-server.ts';
import { queueStatus } from '../../../src/jobs/redis/status.ts';
import { stopPrivateServer } from '../../../src/jobs/redis/stop.ts';
import { stateFolder } from '../../../src/state.ts';
import { listening, runFlow } from './support.ts';

const root = join(import.meta.dirname, '../../..');
let state: string;
let place: PrivatePlace;

beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'ur-p-'));
  vi.stubEnv('UNFOLD_STATE', state);
  vi.stubEnv('UNFOLD_QUEUE', '');
  place = privatePlace();
});

afterEach(async () => {
  vi.unstubAllEnvs();
  const record = await readRecord(place);
  if (record) killIfAlive(record.pid);
  rmSync(state, { recursive: true, force: true });
});

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // gone already
  }
}

async function untilGone(): Promise<void> {
  await vi.waitFor(async () => expect(await ask(place.socket)).toBe('gone'), { timeout: 10_000 });
}

async function failure(): Promise<UnfoldError> {
  const error = await startPrivateServer(listening().context).catch((thrown: unknown) => thrown);
  if (error instanceof UnfoldError) return error;
  throw error;
}

test('a queue without a URL starts one, runs a flow, and leaves it for the next', async () => {
  const heard = listening();
  const connection = await openQueue(undefined, heard.context);
  expect(heard.notes).toEqual([expect.stringContaining(`started a private Redis in ${place.folder}`)]);
  expect(heard.warnings).toEqual([]);
  expect(await runFlow(connection)).toEqual(['shards']);
  await connection.close();
  expect(statSync(place.folder).mode & 0o777).toBe(0o700);
  const again = listening();
  await (await openQueue('', again.context)).close();
  expect(again.notes).toEqual([]);
});

test('two commands and two callers at the same moment start one', async () => {
  const children = [1, 2].map(
    () =>
      new Promise<{ started: boolean }>((resolve, reject) => {
        const child = spawn(
          process.execPath,
          ['--import', 'tsx', 'src/cli/main.ts', 'queue', 'start', '--json'],
          {
            cwd: root,
            stdio: ['ignore', 'pipe', 'inherit'],
          },
        );
        let out = '';
        child.stdout.on('data', (part) => (out += part));
        child.on('close', (code) =>
          code === 0 ? resolve(JSON.parse(out)) : reject(new Error(`code ${code}`)),
        );
      }),
  );
  const callers = [1, 2].map(() => startPrivateServer(listening().context));
  const all = await Promise.all([...children, ...callers]);
  expect(all.filter(({ started }) => started)).toHaveLength(1);
});

test('killed, it is started again by the next command, with all that was written', async () => {
  const connection = await openQueue(undefined, listening().context);
  await connection.client.set('{unfold}:kept', 'yes');
  await connection.close();
  process.kill((await readRecord(place))!.pid, 'SIGKILL');
  await untilGone();
  expect(statSync(place.socket).isSocket()).toBe(true); // a stale one
  const again = await openQueue(undefined, listening().context);
  expect(await again.client.get('{unfold}:kept')).toBe('yes');
  await again.close();
});

test('killed under those who use it, it is started again by one of them; stopped, by none', async () => {
  const users = await Promise.all([1, 2, 3].map(() => openQueue(undefined, listening().context)));
  await users[0]!.client.set('{unfold}:kept', 'yes');
  const { pid } = (await readRecord(place))!;
  process.kill(pid, 'SIGKILL');
  const answers = await Promise.all(users.map(({ client }) => client.get('{unfold}:kept')));
  expect(answers).toEqual(['yes', 'yes', 'yes']);
  expect((await readRecord(place))!.pid).not.toBe(pid);
  await stopPrivateServer();
  await new Promise((resolve) => setTimeout(resolve, 1000)); // some attempts to connect
  expect(await ask(place.socket)).toBe('gone');
  await Promise.all(users.map((user) => user.close()));
});

test('stop keeps the jobs; status tells running from not running and starts nothing', async () => {
  const connection = await openQueue(undefined, listening().context);
  await runFlow(connection);
  await connection.client.sadd('{unfold}:unfold-queues', 'train', 'harvest');
  const status = await queueStatus(undefined, listening().context);
  expect(status).toMatchObject({
    running: true,
    private: true,
    servers: [{ aof: true, policy: 'noeviction' }],
  });
  expect(status.queues).toMatchObject([
    { name: 'harvest', completed: 1, waiting: 0 },
    { name: 'train', completed: 1, paused: false },
  ]);
  expect(await stopPrivateServer()).toEqual({ stopped: true, clients: 1, folder: place.folder });
  expect(await stopPrivateServer()).toMatchObject({ stopped: false });
  expect(await queueStatus(undefined, listening().context)).toMatchObject({ running: false, queues: [] });
  await startPrivateServer(listening().context);
  expect((await queueStatus(undefined, listening().context)).queues).toEqual(status.queues);
  await connection.close();
});

test('unfold queue shows server, jobs and what to do next; a URL that is wrong ends with code 1', async () => {
  const connection = await openQueue(undefined, listening().context);
  await runFlow(connection);
  await connection.client.sadd('{unfold}:unfold-queues', 'train');
  await connection.close();
  const unfold = (...args: string[]) =>
    spawnSync(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'queue', ...args], {
      cwd: root,
      encoding: 'utf8',
    });
  const { status, stdout } = unfold();
  expect(status).toBe(0);
  expect(stdout).toContain(`${place.url}  (private, process`);
  expect(stdout).toMatch(/redis \d+\.\d+\.\d+ +append-only file, fsync always .*noeviction/);
  expect(stdout).toMatch(/\ntrain +0 +0 +0 +0 +1 +0/);
  expect(stdout).toContain('no workers; ');
  const wrong = unfold('--queue', 'redis://:hunter2', '--json');
  expect(wrong.status).toBe(1);
  expect(JSON.parse(wrong.stdout)).toMatchObject({ error: { kind: 'bad-queue', where: '--queue' } });
  expect(wrong.stdout + wrong.stderr).not.toContain('hunter2');
});

test('a server whose socket was removed is ended in order before the next one takes its file', async () => {
  await startPrivateServer(listening().context);
  const first = (await readRecord(place))!.pid;
  unlinkSync(place.socket);
  const heard = listening();
  expect((await startPrivateServer(heard.context)).started).toBe(true);
  expect(heard.notes[0]).toContain(`process ${first}) lost its socket`);
  expect(() => process.kill(first, 0)).toThrow('ESRCH');
});

test('garbage in its record does not hide a server that lost its socket', async () => {
  await startPrivateServer(listening().context);
  const { pid } = (await readRecord(place))!;
  unlinkSync(place.socket);
  writeFileSync(place.record, '{"pid": "x"');
  expect((await startPrivateServer(listening().context)).started).toBe(true);
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
});

test('a state folder that cannot be made is told with what to do', async () => {
  const file = join(state, 'file');
  writeFileSync(file, '');
  vi.stubEnv('UNFOLD_STATE', file);
  expect((await failure()).lesson.todo).toContain('set UNFOLD_STATE');
});

test('status shows a queue whose own keys were overwritten with something else', async () => {
  const connection = await openQueue(undefined, listening().context);
  await connection.client.set('{unfold}:unfold-queues', 'garbage');
  await connection.client.set('{unfold}:unfold-workers', 'garbage');
  const { queues, workers, judgements } = await queueStatus(undefined, listening().context);
  expect([queues, workers]).toEqual([[], []]);
  expect(judgements.map(({ lesson }) => lesson.todo)).toEqual([
    `redis-cli -s ${place.socket} del {unfold}:unfold-queues`,
    `redis-cli -s ${place.socket} del {unfold}:unfold-workers`,
  ]);
  await connection.close();
});

test('a paused server is named, and no second one is started beside it', async () => {
  await startPrivateServer(listening().context);
  const { pid } = (await readRecord(place))!;
  process.kill(pid, 'SIGSTOP');
  const { kind, lesson } = await failure();
  expect([kind, lesson.found]).toEqual(['no-redis', expect.stringContaining(`silence from process ${pid}`)]);
  expect(lesson.todo).toContain(`kill -CONT ${pid}`);
  process.kill(pid, 'SIGCONT');
  expect((await startPrivateServer(listening().context)).started).toBe(false);
});

test('a folder on a shared disk that another machine’s server has is left alone', async () => {
  await startPrivateServer(listening().context);
  await stopPrivateServer();
  const record = { host: 'gpu7', machine: 'f00d', pid: 1, started: '2026-01-01T00:00:00.000Z' };
  writeFileSync(place.record, JSON.stringify(record));
  const { lesson } = await failure();
  expect(lesson.found).toContain('that of gpu7 (process 1');
  expect(lesson.todo).toContain('--queue redis://gpu7');
});

test('no redis-server on the PATH: the message says how to get one, and REDIS_URL is not taken silently', async () => {
  vi.stubEnv('PATH', state);
  vi.stubEnv('REDIS_URL', 'redis://:hunter2@elsewhere');
  const { kind, lesson, message } = await failure();
  expect(kind).toBe('no-redis');
  for (const way of [
    'apt-get install redis-server',
    'brew install redis',
    'docker run',
    '--queue "$REDIS_URL"',
  ]) {
    expect(message).toContain(way);
  }
  expect(lesson.todo).toContain('unfold run needs no Redis');
  expect(message).not.toContain('hunter2');
});

test('a server that ends at once shows its last words', async () => {
  await startPrivateServer(listening().context);
  await stopPrivateServer();
  const manifest = join(place.folder, 'appendonlydir', 'appendonly.aof.manifest');
  await chmod(manifest, 0o600);
  writeFileSync(manifest, 'garbage\n');
  const { lesson } = await failure();
  expect(lesson.found).toMatch(/it ended with code 1: .*(AOF|manifest)/);
  expect(await readFile(place.log, 'utf8')).toContain('manifest');
});

test('a machine is known by its id where both know theirs, else by its name', () => {
  const record = { host: 'a', machine: '1', pid: 1, started: '' };
  expect(isThisMachine(record, { host: 'renamed', machine: '1' })).toBe(true);
  expect(isThisMachine(record, { host: 'a', machine: '2' })).toBe(false);
  expect(isThisMachine(record, { host: 'a', machine: '' })).toBe(true);
  expect(isThisMachine(record, { host: 'b', machine: '' })).toBe(false);
});

test('state lies where XDG says; a socket path that the kernel would refuse is made short', () => {
  expect(stateFolder({ XDG_STATE_HOME: '/x' })).toBe('/x/unfold');
  expect(stateFolder({ UNFOLD_STATE: '/y', XDG_STATE_HOME: '/x' })).toBe('/y');
  const deep = `/${'a'.repeat(120)}`;
  const { socket, folder } = privatePlace({ UNFOLD_STATE: deep, XDG_RUNTIME_DIR: '/run/user/1' });
  expect(folder).toBe(`${deep}/queue`);
  expect(socket).toMatch(/^\/run\/user\/1\/unfold-[0-9a-f]{12}\/redis\.sock$/);
});
