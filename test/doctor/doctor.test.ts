/** @file What doctor looks at, against a server and texts of ours. */

import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { simdLevel } from '../../src/doctor/machine.ts';
import { hubCache, redisFinding } from '../../src/doctor/services.ts';
import { startRedis } from '../support/redis.ts';

/** A server that takes connections and says nothing. */
async function silence(use: (port: number) => Promise<void>): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await use((server.address() as AddressInfo).port);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
}

test('a Redis that can hold a queue is ok; one that evicts is a warning with its remedy', async () => {
  const redis = await startRedis({ aof: true });
  try {
    expect(await redisFinding(redis.url, 'UNFOLD_QUEUE')).toMatchObject({
      state: 'ok',
      found: expect.stringMatching(/redis\.sock answers: \w+ \d+\.\d+/),
    });
    const client = new Redis({ path: join(redis.dir, 'redis.sock') });
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await client.quit();
    const finding = await redisFinding(redis.url, 'UNFOLD_QUEUE');
    expect(finding).toMatchObject({ state: 'warning', found: expect.stringContaining('allkeys-lru') });
    expect(finding.remedy).toContain('config set maxmemory-policy noeviction');
  } finally {
    await redis.stop();
  }
});

test('a server that refuses says why, a silent one is not waited for', async () => {
  const redis = await startRedis({ args: ['--requirepass', 'secret'] });
  const finding = await redisFinding(redis.url, 'UNFOLD_QUEUE').finally(redis.stop);
  expect(finding).toMatchObject({ state: 'warning', found: expect.stringContaining('NOAUTH') });
  expect(finding.remedy).toContain('redis://:password@host');
  await silence(async (port) => {
    const silent = await redisFinding(`redis://127.0.0.1:${port}`, 'UNFOLD_QUEUE', 100);
    expect(silent.found).toContain('no answer in 0.1 s');
  });
});

test('an address of another kind, or of nobody, is an answer and no crash', async () => {
  const found = async (url: string) => (await redisFinding(url, 'UNFOLD_QUEUE')).found;
  expect(await found('http://127.0.0.1')).toBe('UNFOLD_QUEUE: http://');
  expect(await found('no address')).toContain('UNFOLD_QUEUE: no address');
  expect(await found('unix:///nonexistent/redis.sock')).toContain('ENOENT');
});

test('vector instructions are read from the flags that Linux prints', () => {
  expect(simdLevel(' fpu avx avx2 avx512f amx_tile ')).toBe('AVX-512 + AMX');
  expect(simdLevel(' fpu avx avx2 ')).toBe('AVX2');
  expect(simdLevel(' fp asimd ')).toBe('NEON');
  expect(simdLevel(' fpu sse2 ')).toBe('');
});

test('the hub cache is where huggingface_hub keeps it', () => {
  expect(hubCache({ HF_HUB_CACHE: '/a', HF_HOME: '/b' })).toBe('/a');
  expect(hubCache({ HF_HOME: '/b', XDG_CACHE_HOME: '/c' })).toBe('/b/hub');
  expect(hubCache({ XDG_CACHE_HOME: '/c' })).toBe('/c/huggingface/hub');
});
