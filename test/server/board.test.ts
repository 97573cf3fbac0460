import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS } from '../../src/jobs/names.ts';
import type { RunningServer } from '../../src/server/server.ts';
import { getJson, getText, stageMessage, type TestWorld, testWorld } from './world.ts';

let world: TestWorld;
let server: RunningServer;
beforeAll(async () => {
  world = await testWorld();
  server = await world.serve();
});
afterAll(() => world.close());

interface Board {
  queues: { name: string; counts: Record<string, number>; jobs: { id: string }[] }[];
}
const board = (query = '') => getJson<Board>(server, `/queues/api/queues${query}`);

describe('bull-board at /queues', () => {
  it('lists queues that are made after the server began, and forgets those that went', async () => {
    expect((await board()).queues).toEqual([]);
    await world.add('train@gpu', stageMessage('train').data, { jobId: 'late.train' });
    expect((await board()).queues).toMatchObject([{ name: 'train@gpu', counts: { waiting: 1 } }]);
    await world.add('harvest', stageMessage('harvest').data, { jobId: 'late.harvest' });
    expect((await board()).queues.map(({ name }) => name).sort()).toEqual(['harvest', 'train@gpu']);
    await world.connection.client.srem(KEYS.queues, 'harvest');
    expect((await board()).queues.map(({ name }) => name)).toEqual(['train@gpu']);
  });

  it('shows the jobs of a queue beside one that BullMQ cannot parse', async () => {
    const { client } = world.connection;
    await client.hset('{unfold}:train@gpu:broken', 'data', '{oops', 'opts', 'nonsense', 'timestamp', '1');
    await client.lpush('{unfold}:train@gpu:wait', 'broken');
    const { queues } = await board(`?activeQueue=${encodeURIComponent('train@gpu')}&status=waiting&page=1`);
    expect(queues[0]!.jobs.map(({ id }) => id)).toContain('late.train');
    expect(await getText(server, '/')).toContain('broken');
  });

  it('serves its page and its files, and keeps the page from asking other machines', async () => {
    const answer = await fetch(new URL('/queues', server.url));
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'self'");
    const page = await answer.text();
    const [script] = /static\/js\/main[^"]+/.exec(page) ?? [];
    const file = await fetch(new URL(`/queues/${script}`, server.url));
    expect([file.status, file.headers.get('content-type')]).toEqual([
      200,
      expect.stringContaining('javascript'),
    ]);
    expect((await fetch(new URL('/queues/static/../../../package.json', server.url))).status).toBe(404);
  });
});
