/** @file A Redis that is not there, not yet, or not any more. */
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import { ask } from '../../../src/jobs/redis/ask.ts';
import { connectRedis } from '../../../src/jobs/redis/connect.ts';
import { openQueue } from '../../../src/jobs/redis/open.ts';
import { parseRedisUrl } from '../../../src/jobs/redis/url.ts';
import { freePort } from '../../support/redis.ts';
import { listening, runFlow, servers } from './support.ts';

const { later, open, redis, refusal } = servers();

test('nobody there, or somebody silent: a lesson within seconds', async () => {
  const port = await freePort();
  const nobody = await refusal(`redis://127.0.0.1:${port}`);
  expect([nobody.kind, nobody.lesson.found]).toEqual(['no-redis', expect.stringContaining('ECONNREFUSED')]);
  expect((await refusal('redis+unix:///no/redis.sock')).lesson.expected).toBe('a socket');
  const silent = createServer((socket) => later(() => socket.destroy())).listen(port, '127.0.0.1');
  later(() => silent.close());
  const before = Date.now();
  expect((await refusal(`redis://127.0.0.1:${port}`)).lesson.found).toBe('no answer in 5 s');
  expect(Date.now() - before).toBeLessThan(15_000);
});

test('something that is no Redis is told from one', async () => {
  const web = createServer(
    (socket) => void socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  );
  const port = await freePort();
  web.listen(port, '127.0.0.1');
  later(() => web.close());
  expect((await refusal(`redis://127.0.0.1:${port}`)).kind).toBe('no-redis');
});

test('Redis dies and returns: said once each, commands issued meanwhile succeed, queued jobs are there', async () => {
  const server = await redis({ aof: true });
  const heard = listening();
  const connection = await open(server.url, heard);
  await connection.client.set('{unfold}:kept', 'before');
  await server.kill();
  const meanwhile = Promise.all([connection.client.get('{unfold}:kept'), connection.time()]);
  const second = connection.client.incr('{unfold}:count');
  await new Promise((resolve) => setTimeout(resolve, 1500)); // several attempts to connect
  await server.restart();
  expect((await meanwhile)[0]).toBe('before');
  expect(await second).toBe(1);
  expect(heard.warnings).toEqual([expect.stringMatching(/is lost.*: trying again until it is back/)]);
  expect(heard.notes).toEqual([expect.stringMatching(/is back after \d+\.\d s/)]);
  expect(await runFlow(connection)).toEqual(['shards']);
});

test('a Redis that is loading its data is waited for, beyond the time for a first answer', async () => {
  const server = await redis({ aof: true, args: ['--key-load-delay', '100'] });
  const filler = new Redis({ path: join(server.dir, 'redis.sock') });
  const pipeline = filler.pipeline();
  for (let key = 0; key < 20_000; key++) pipeline.set(`{unfold}:${key}`, 'x'.repeat(100));
  await pipeline.exec();
  await filler.quit();
  await server.kill();
  const restarted = server.restart();
  await vi.waitFor(async () => expect(await ask(join(server.dir, 'redis.sock'))).toBe('loading'), 10_000);
  const heard = listening();
  const client = await connectRedis(parseRedisUrl(server.url), heard.context, 500);
  expect(heard.notes).toEqual([expect.stringContaining('is loading its data: waiting')]);
  expect(await client.dbsize()).toBe(20_000);
  await client.quit();
  await restarted;
});

test('closing does not wait for a Redis that is away', async () => {
  const server = await redis({ aof: true });
  const heard = listening();
  const connection = await open(server.url, heard);
  await server.kill();
  const before = Date.now();
  await connection.close();
  expect(Date.now() - before).toBeLessThan(2500);
});

test('Ctrl-C while connecting is Ctrl-C, and no lesson about Redis', async () => {
  const silent = createServer((socket) => later(() => socket.destroy()));
  const port = await freePort();
  silent.listen(port, '127.0.0.1');
  later(() => silent.close());
  const context = { ...listening().context, signal: AbortSignal.timeout(200) };
  await expect(openQueue(`redis://127.0.0.1:${port}`, context)).rejects.toThrow('aborted due to timeout');
});
