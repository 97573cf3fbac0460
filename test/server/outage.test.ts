import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RunningServer } from '../../src/server/server.ts';
import { getJson, stageMessage, type TestWorld, testWorld } from './world.ts';

let world: TestWorld;
let server: RunningServer;
const { id, data } = stageMessage('train');
beforeAll(async () => {
  world = await testWorld();
  await world.add('train', data, { jobId: id });
  server = await world.serve();
});
afterAll(() => world.close());

const ask = async (path: string, options: RequestInit = {}) => {
  const began = performance.now();
  const answer = await fetch(new URL(path, server.url), { redirect: 'manual', ...options });
  return { status: answer.status, text: await answer.text(), ms: performance.now() - began };
};

it('without Redis /health stays 200, /ready is 503 with the reason, nothing hangs, and all comes back with it', async () => {
  expect([(await ask('/health')).status, (await ask('/ready')).status]).toEqual([200, 200]);
  await world.redis.kill();
  await expect.poll(async () => (await ask('/ready')).status).toBe(503);
  expect((await ask('/health')).status).toBe(200);
  expect(JSON.parse((await ask('/ready')).text)).toMatchObject({
    status: 'not ready',
    reason: expect.stringContaining('Redis is not reachable'),
  });
  for (const path of ['/api/flows', '/api/workers', `/api/jobs/${id}`, '/queues/api/queues', `/jobs/${id}`]) {
    const { status, text, ms } = await ask(path);
    expect([path, status]).toEqual([path, 503]);
    expect(text).toContain('Redis');
    expect(ms).toBeLessThan(2000);
  }
  const cancel = await ask(`/api/jobs/${id}/cancel`, { method: 'POST' });
  expect(cancel.status).toBe(503);
  expect((await ask('/')).status).toBe(200);
  await world.redis.restart();
  await expect.poll(async () => (await ask('/ready')).status, { timeout: 10_000 }).toBe(200);
  // Nothing was on disk: the queue is empty now, and the page says so.
  await expect
    .poll(async () => (await getJson<{ flows?: unknown[] }>(server, '/api/flows')).flows, { timeout: 5000 })
    .toEqual([]);
  await world.add('train', data, { jobId: id });
  await expect.poll(async () => (await ask(`/api/jobs/${id}`)).status, { timeout: 5000 }).toBe(200);
});

it('a Redis that hangs is no reason to hang', async () => {
  await world.redis.kill('SIGSTOP');
  const { status, text, ms } = await ask('/ready');
  expect([status, JSON.parse(text)]).toMatchObject([503, { reason: 'Redis did not answer within 900 ms' }]);
  expect(ms).toBeLessThan(1500);
  await world.redis.kill('SIGCONT');
  await expect.poll(async () => (await ask('/ready')).status, { timeout: 10_000 }).toBe(200);
});
