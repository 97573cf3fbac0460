/** @file Opening a queue on real servers: who lets us in, who does not, and what is said about either. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../../support/redis.ts';
import { listening, runFlow, servers } from './support.ts';

const { asAdmin, later, open, redis, refusal } = servers();

test('a Unix socket with an append-only file: a flow runs, nothing is said', async () => {
  const server = await redis({ aof: true });
  const heard = listening();
  const connection = await open(server.url, heard);
  expect(connection.url).toBe(server.url);
  expect(await runFlow(connection)).toEqual(['shards']);
  expect(Math.abs((await connection.time()) - Date.now())).toBeLessThan(2000);
  expect([...heard.notes, ...heard.warnings]).toEqual([]);
});

test('a database of one’s own: other databases stay empty', async () => {
  const server = await redis({ aof: true });
  const connection = await open(`${server.url}?db=3`);
  await runFlow(connection);
  expect(await connection.client.dbsize()).toBeGreaterThan(0);
  expect(await (await open(server.url)).client.dbsize()).toBe(0);
});

test('TCP with a password: right, wrong and missing', async () => {
  const server = await redis({ aof: true, port: 'tcp', args: ['--requirepass', 's/c@et'] });
  const host = server.url.slice('redis://'.length);
  const connection = await open(`redis://:s%2Fc%40et@${host}`);
  expect(connection.url).toBe(`redis://:***@${host}`);
  expect(await runFlow(connection)).toEqual(['shards']);
  const wrong = await refusal(`redis://:nope@${host}`);
  expect(wrong.kind).toBe('bad-queue');
  expect(wrong.lesson.found).toContain('WRONGPASS');
  expect(wrong.message).not.toContain('nope');
  expect((await refusal(server.url)).lesson.todo).toContain('redis://:password@host');
});

test('an ACL user with the rights that the message names runs a flow; CONFIG stays forbidden', async () => {
  const server = await redis({ port: 'tcp' });
  await asAdmin(server, [
    'ACL',
    'SETUSER',
    'ann',
    'on',
    '>pw',
    '~other:*',
    '&*',
    '+@all',
    '-@dangerous',
    '+info',
  ]);
  const url = server.url.replace('//', '//ann:pw@');
  const { kind, lesson } = await refusal(url);
  expect([kind, lesson.todo]).toEqual([
    'bad-queue',
    'as an administrator: ACL SETUSER ann ~{unfold}:* &* +@all -@dangerous +info +client|list',
  ]);
  await asAdmin(server, lesson.todo.slice(lesson.todo.indexOf('ACL')).split(' ') as [string]);
  const heard = listening();
  const connection = await open(url, heard);
  expect(await runFlow(connection)).toEqual(['shards']);
  await expect(connection.client.config('GET', 'save')).rejects.toThrow('NOPERM');
  expect(heard.notes.join()).toContain('could not be asked (no permission for CONFIG)');
});

test('TLS: with the authority’s file it opens, without it the message says how', async () => {
  const tls = certificate();
  const server = await redis({ aof: true, port: 'tcp', tls });
  expect(await runFlow(await open(`${server.url}?ca=${tls.ca}`))).toEqual(['shards']);
  expect((await refusal(server.url)).lesson.todo).toBe('name the authority’s file: rediss://host?ca=ca.pem');
  expect((await refusal(`${server.url}?ca=/no/such.pem`)).lesson.where).toContain('?ca=/no/such.pem');
  expect((await refusal(server.url.replace('rediss:', 'redis:'))).lesson.todo).toContain('rediss://');
  const plain = await redis({ port: 'tcp' });
  expect((await refusal(plain.url.replace('redis:', 'rediss:'))).lesson.todo).toContain('redis://');
});

test('a policy that evicts is refused where memory is limited, and warned about where it is not', async () => {
  const server = await redis({ aof: true, args: ['--maxmemory-policy', 'allkeys-lru'] });
  const heard = listening();
  const connection = await open(server.url, heard);
  expect(heard.warnings).toEqual([
    expect.stringContaining(`redis-cli -s ${server.dir}/redis.sock config set maxmemory-policy noeviction`),
  ]);
  expect(connection.bullmq().skipVersionCheck).toBe(true);
  await asAdmin(server, ['CONFIG', 'SET', 'maxmemory', '100mb']);
  const { kind, lesson } = await refusal(server.url);
  expect(kind).toBe('bad-redis');
  expect(lesson.found).toBe('allkeys-lru, with a limit of 105MB: jobs would vanish');
});

test('no persistence is warned about, snapshots alone are noted, both with the way back', async () => {
  const server = await redis();
  const none = listening();
  await open(server.url, none);
  expect(none.warnings).toEqual([expect.stringContaining('no persistence at all')]);
  expect(none.warnings[0]).toContain('unfold jobs requeue DIR');
  await asAdmin(server, ['CONFIG', 'SET', 'save', '3600 1']);
  const snapshots = listening();
  await open(server.url, snapshots);
  expect(snapshots.warnings).toEqual([]);
  expect(snapshots.notes).toEqual([expect.stringContaining('snapshots only (save 3600 1)')]);
});

test('a replica, and a server without memory, take no jobs and say so at once', async () => {
  const server = await redis({ aof: true });
  await asAdmin(server, ['CONFIG', 'SET', 'maxmemory', '1kb']);
  expect((await refusal(server.url)).lesson.found).toContain('OOM');
  await asAdmin(
    server,
    ['CONFIG', 'SET', 'maxmemory', '0'],
    ['REPLICAOF', '127.0.0.1', String(await freePort())],
  );
  expect((await refusal(server.url)).lesson.todo).toContain('name its master');
});

/** A certificate for 127.0.0.1, signed by itself. */
function certificate(): { cert: string; key: string; ca: string } {
  const dir = mkdtempSync(join(tmpdir(), 'ur-tls-'));
  later(() => rmSync(dir, { recursive: true }));
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  // Node can read certificates but not make them.
  const there = spawnSync('openssl', ['version']).status === 0;
  if (!there) throw new Error('this test makes a certificate with the program openssl: install openssl');
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert, ...subject], {
    stdio: 'pipe',
  });
  return { cert, key, ca: cert };
}
