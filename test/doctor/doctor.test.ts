/** @file What doctor looks at, against a server and texts of ours. */

import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { simdLevel } from '../../src/doctor/machine.ts';
import { hubCache, pingRedis } from '../../src/doctor/services.ts';

/** A server that answers every piece of input with `answer(piece)`. */
async function talk(
  answer: (text: string) => string | undefined,
  use: (port: number) => Promise<void>,
): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setEncoding('utf8').on('data', (text) => {
      const reply = answer(String(text));
      if (reply !== undefined) socket.write(reply);
    });
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await use((server.address() as AddressInfo).port);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
}

test('PING goes out as Redis wants it, after AUTH where the address has a password', async () => {
  const heard: string[] = [];
  const answer = (text: string) => {
    heard.push(text);
    return text.includes('AUTH') ? '+OK\r\n+PONG\r\n' : '+PONG\r\n';
  };
  await talk(answer, async (port) => {
    expect(await pingRedis(`redis://127.0.0.1:${port}`)).toBe('PONG');
    expect(await pingRedis(`redis://:s%20cret@127.0.0.1:${port}/0`)).toBe('PONG');
  });
  const ping = '*1\r\n$4\r\nPING\r\n';
  expect(heard).toEqual([ping, `*2\r\n$4\r\nAUTH\r\n$6\r\ns cret\r\n${ping}`]);
});

test('a server that refuses says why, a silent one is not waited for', async () => {
  await talk(
    () => '-NOAUTH Authentication required.\r\n',
    async (port) => {
      expect(await pingRedis(`redis://127.0.0.1:${port}`)).toBe('NOAUTH Authentication required.');
    },
  );
  await talk(
    () => undefined,
    async (port) => {
      expect(await pingRedis(`redis://127.0.0.1:${port}`, 100)).toBe('no answer in 0.1 s');
    },
  );
});

test('an address of another kind, or of nobody, is an answer and no crash', async () => {
  expect(await pingRedis('http://127.0.0.1')).toMatch(/redis:\/\//);
  expect(await pingRedis('no address')).toMatch(/Invalid URL/);
  expect(await pingRedis('unix:///nonexistent/redis.sock')).toBe('ENOENT');
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
