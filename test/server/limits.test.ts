/** @file Whoever sends much, slowly, or on many connections, costs nothing and keeps nobody else waiting. */
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MOST_BODY } from '../../src/server/listen.ts';
import type { RunningServer } from '../../src/server/server.ts';
import { type TestWorld, testWorld } from './world.ts';

let world: TestWorld;
let server: RunningServer;
beforeAll(async () => {
  world = await testWorld();
  server = await world.serve({ patience: { headTime: 300, requestTime: 600, connections: 20 } });
});
afterAll(() => world.close());

const healthy = async () => (await fetch(new URL('/health', server.url))).status;

/** Sends pieces of a body until it is answered or cut off; the status, and how much was taken. */
function upload(path: string, headers: Record<string, string | number | undefined>, bytes: number) {
  return new Promise<{ status: number; sent: number }>((resolve) => {
    let sent = 0;
    let status = 0;
    const piece = Buffer.alloc(1 << 16);
    const out = request(new URL(path, server.url), { method: 'POST', headers }, (answer) => {
      status = answer.statusCode!;
      answer.resume();
      resolve({ status, sent });
    });
    out.on('error', () => resolve({ status, sent }));
    const push = () => {
      while (sent < bytes && !out.destroyed) {
        sent += piece.length;
        if (!out.write(piece)) return void out.once('drain', push);
      }
      if (!out.destroyed) out.end();
    };
    push();
  });
}

async function opened(): Promise<Socket> {
  const socket = connect(server.port, '127.0.0.1').on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

it('a body that is too large is refused as it comes, with its length told or not', async () => {
  const before = process.memoryUsage.rss();
  for (const path of ['/api/queues/pause', '/api/jobs/x/cancel', '/queues/api/queues/train/x/update-data'])
    for (const headers of [{ 'content-length': 300 << 20 }, { 'transfer-encoding': 'chunked' }] as const)
      expect(
        (await upload(path, { ...headers, 'content-type': 'application/json' }, 300 << 20)).status,
        path,
      ).toBeOneOf([413, 0]);
  expect(process.memoryUsage.rss() - before).toBeLessThan(150 << 20);
  const small = await upload('/api/queues/pause', { 'content-type': 'application/json' }, MOST_BODY / 4);
  expect(small.status).toBe(200);
  expect(await healthy()).toBe(200);
});

it('who begins a request and does not end it is cut off', async () => {
  for (const start of [
    'GET / HTTP/1.1\r\nHost: localhost\r\n',
    `POST /api/queues/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc`,
  ]) {
    const socket = await opened();
    const began = performance.now();
    socket.write(start);
    socket.resume();
    await once(socket, 'close');
    expect(performance.now() - began).toBeLessThan(10_000);
  }
  expect(await healthy()).toBe(200);
});

it('more connections than a server of pages has are closed; the others go on', async () => {
  const sockets = await Promise.all(Array.from({ length: 40 }, opened));
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await healthy()).toBe(200);
});

it('a query that is longer than a head may be is refused', async () => {
  const status = await fetch(new URL(`/api/flows?x=${'y'.repeat(100_000)}`, server.url)).then(
    (answer) => answer.status,
  );
  expect(status).toBe(431);
});
