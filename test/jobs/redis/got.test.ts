/** @file What a connection was asked for is what it gets: its database, its user, a master. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { servers } from './support.ts';

const { asAdmin, later, open, redis, refusal } = servers();

test('a database that the server does not have is refused, with those that it has', async () => {
  const server = await redis({ aof: true });
  const { kind, lesson } = await refusal(`${server.url}?db=99`);
  expect([kind, lesson.found]).toEqual(['bad-queue', 'database 99; this Redis has 0 to 15']);
  expect((await refusal(`${server.url}?db=16`)).lesson.found).toContain('0 to 15');
  const one = await redis({ aof: true, args: ['--databases', '1'] });
  expect((await refusal(`${one.url}?db=1`)).lesson.found).toBe('database 1; this Redis has only 0');
  expect(await (await open(`${server.url}?db=15`)).client.ping()).toBe('PONG');
});

test('a connection that comes back without its database does nothing in another; nor does a duplicate', async () => {
  const server = await redis({ aof: true });
  const { client } = await open(`${server.url}?db=3`);
  await client.set('{unfold}:a', '1');
  await asAdmin(server, ['ACL', 'SETUSER', 'default', '-select'], ['CLIENT', 'KILL', 'TYPE', 'normal']);
  const written = client.set('{unfold}:b', '2');
  const second = (client as Redis).duplicate();
  second.on('error', () => {});
  later(() => second.disconnect());
  const also = second.set('{unfold}:c', '3').catch(() => 'refused');
  await sleep(1200); // several attempts to connect
  const zero = new Redis({ path: join(server.dir, 'redis.sock') });
  later(() => zero.disconnect());
  expect(await zero.dbsize()).toBe(0);
  await zero.call('ACL', 'SETUSER', 'default', '+select');
  expect(await written).toBe('OK');
  expect(['OK', 'refused']).toContain(await also);
  expect(await zero.dbsize()).toBe(0);
  expect(await client.get('{unfold}:b')).toBe('2');
});

test('a replica that takes writes is refused: it would lose them', async () => {
  const master = await redis({ aof: true, port: 'tcp' });
  const of = ['--replicaof', '127.0.0.1', String(master.port), '--replica-read-only', 'no'];
  const replica = await redis({ aof: true, args: of });
  expect((await refusal(replica.url)).lesson).toMatchObject({ found: 'a replica (READONLY)' });
});
