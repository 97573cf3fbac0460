/** @file A queue behind Sentinels: found by the master's name, and by the new master after the old one died. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { UnfoldError } from '../../../src/errors.ts';
import { openQueue } from '../../../src/jobs/redis/open.ts';
import { freePort, spawnRedis, startRedis, type TestRedis } from '../../support/redis.ts';
import { listening, runFlow } from './support.ts';

let master: TestRedis;
let replica: TestRedis;
let sentinel: { port: number; stop(): void };

beforeAll(async () => {
  master = await startRedis({ aof: true, port: 'tcp' });
  const of = ['--replicaof', '127.0.0.1', String(master.port), '--repl-diskless-sync-delay', '0'];
  replica = await startRedis({ aof: true, port: 'tcp', args: of });
  await vi.waitFor(async () => expect(await info(replica)).toContain('master_link_status:up'), {
    timeout: 20_000,
  });
  sentinel = await startSentinel(master.port!);
});

afterAll(async () => {
  sentinel?.stop();
  await replica?.stop();
  await master?.stop();
});

async function info({ dir }: TestRedis): Promise<string> {
  const client = new Redis({ path: join(dir, 'redis.sock') });
  return client.info('replication').finally(() => client.disconnect());
}

/** One Sentinel that takes a silence of half a second for death, and decides alone. */
async function startSentinel(masterPort: number): Promise<{ port: number; stop(): void }> {
  const dir = mkdtempSync(join(tmpdir(), 'ur-s-'));
  const port = await freePort();
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${dir}`,
    `sentinel monitor unfold 127.0.0.1 ${masterPort} 1`,
    'sentinel down-after-milliseconds unfold 500',
    'sentinel failover-timeout unfold 3000',
  ];
  const file = join(dir, 'sentinel.conf');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const server = await spawnRedis([file, '--sentinel'], /\+slave slave/);
  const stop = () => {
    server.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  };
  return { port, stop };
}

test('a master that the Sentinel does not know is told, within seconds', async () => {
  const url = `redis+sentinel://127.0.0.1:${sentinel.port}/other`;
  const error = await openQueue(url, listening().context).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UnfoldError);
  expect((error as UnfoldError).message).toMatch(/sentinel/i);
});

test('a flow runs through the Sentinel; its master dies, and the next flow runs on the promoted replica', async () => {
  const heard = listening();
  const connection = await openQueue(`redis+sentinel://127.0.0.1:${sentinel.port}/unfold`, heard.context);
  expect(await runFlow(connection)).toEqual(['shards']);
  await connection.client.set('{unfold}:kept', 'yes');
  await connection.client.wait(1, 5000);
  await master.kill();
  expect(await connection.client.get('{unfold}:kept')).toBe('yes');
  await vi.waitFor(async () => expect(await connection.client.incr('{unfold}:writes')).toBeGreaterThan(0));
  expect(await info(replica)).toContain('role:master');
  expect(await runFlow(connection)).toEqual(['shards']);
  // The promoted one may be met while it is a replica still, and left again: each loss is told once, and so is its end.
  const ends = heard.notes.filter((line) => line.includes('is back after'));
  expect(heard.warnings.length).toBeGreaterThan(0);
  expect(heard.warnings).toEqual(ends.map(() => expect.stringContaining('is lost')));
  await connection.close();
});
