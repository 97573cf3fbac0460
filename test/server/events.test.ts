import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { FlowView } from '../../src/jobs/watch/view.ts';
import { createFeed, type State } from '../../src/server/feed.ts';
import type { RunningServer } from '../../src/server/server.ts';
import { getJson, readEvents, stageMessage, type TestWorld, testWorld } from './world.ts';

let world: TestWorld;
let server: RunningServer;
const train = stageMessage('train');
beforeAll(async () => {
  world = await testWorld();
  await world.add('train', train.data, { jobId: train.id });
  server = await world.serve();
});
afterAll(() => world.close());

const isJob = (share: number) => (event: { event: string; data: unknown }) =>
  event.event === 'job' && (event.data as { share: number }).share === share;
const progress = async (done: number) => {
  const job = await world.queue('train').getJob(train.id);
  await job!.updateProgress({ done, total: 100 });
};

describe('/api/events', () => {
  it('begins with everything and goes on with what changes', async () => {
    const events = readEvents(server, '/api/events', isJob(0.1));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await progress(10);
    const [first, ...rest] = await events;
    expect(first).toMatchObject({
      event: 'snapshot',
      data: { flows: [{ id: 'demo-1a2b3c4d' }], trouble: null },
    });
    expect(rest.map(({ event }) => event)).toEqual(['flow', 'job']);
    expect(rest[1]!.data).toMatchObject({ id: train.id, children: 0 });
  });

  it('goes on after the last event that was seen, or from the beginning where it cannot', async () => {
    const [first] = await readEvents(server, '/api/events', () => true);
    await progress(20);
    const known = { 'last-event-id': first!.id };
    const resumed = await readEvents(server, '/api/events', isJob(0.2), known);
    expect(resumed.map(({ event }) => event)).not.toContain('snapshot');
    for (const id of [
      '',
      '7',
      'nonsense-1',
      `${first!.id.split('-')[0]}-99999`,
      `${first!.id.split('-')[0]}--5`,
    ]) {
      const [again] = await readEvents(server, '/api/events', () => true, { 'last-event-id': id });
      expect(again!.event, id).toBe('snapshot');
    }
  });

  it('draws pieces of the page, escaped', async () => {
    const pieces = await readEvents(server, '/api/events?as=html', ({ event }) => event === 'trouble');
    expect(pieces.map(({ event }) => event)).toEqual(['flow', 'order', 'piece', 'piece', 'trouble']);
    expect(pieces[0]!.data).toMatchObject({ id: 'demo-1a2b3c4d' });
    expect((pieces[0]!.data as { html: string }).html).toContain('<progress max="100" value="20"');
  });

  it('tells what is gone', async () => {
    const { id, data } = stageMessage('train', { flow: 'short-lived' });
    await world.add('train', data, { jobId: id });
    const events = readEvents(server, '/api/events', ({ event, data }) => {
      if (JSON.stringify(data).includes(id) && event !== 'gone') void world.queue('train').remove(id);
      return event === 'gone' && (data as { job?: string }).job === id;
    });
    expect((await events).map(({ event, data }) => [event, data])).toContainEqual([
      'gone',
      { flow: 'short-lived' },
    ]);
  });

  it('tells of trouble with Redis, keeps the last state, and goes on by itself', async () => {
    const recovered = ({ event, data }: { event: string; data: unknown }) =>
      event === 'trouble' && data === null;
    const events = readEvents(server, '/api/events', recovered);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await world.redis.kill();
    await expect.poll(async () => (await fetch(new URL('/ready', server.url))).status).toBe(503);
    const page = await (await fetch(server.url)).text();
    expect(page).toContain('Redis is not reachable');
    expect(page).toContain('demo-1a2b3c4d');
    await world.redis.restart();
    const told = (await events).filter(({ event }) => event === 'trouble').map(({ data }) => data);
    expect(told).toEqual([expect.stringContaining('Redis is not reachable'), null]);
  });
});

describe('the feed', () => {
  const flow = { id: 'f', roots: [], counts: {} } as unknown as FlowView;
  const redis = {
    ask: <T>(question: () => Promise<T>) => question(),
    seemsUp: () => true,
    trouble: async () => undefined,
    close() {},
  };

  it('reads once for many who ask and watch, and not at all while nobody does', async () => {
    const read = vi.fn(async () => ({ at: 1, flows: [flow], workers: [] }));
    const feed = createFeed(read, redis, new AbortController().signal, 40);
    await Promise.all(Array.from({ length: 20 }, () => feed.now()));
    expect(read).toHaveBeenCalledTimes(1);
    const seen: number[] = [];
    const leave = Array.from({ length: 5 }, () => feed.watch((state: State) => seen.push(state.number)));
    await expect.poll(() => seen.includes(4)).toBe(true);
    for (const stop of leave) stop();
    expect(seen.filter((number) => number === 3)).toHaveLength(5);
    const before = read.mock.calls.length;
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(read.mock.calls.length - before).toBeLessThanOrEqual(1);
  });
});

it('a server that ends lets its streams end', async () => {
  const other = await world.serve();
  const events = readEvents(other, '/api/events', () => false);
  await getJson(other, '/api/flows');
  const began = performance.now();
  await other.close();
  expect(performance.now() - began).toBeLessThan(3000);
  await expect(events.then((list) => list.length)).resolves.toBeGreaterThanOrEqual(0);
});
