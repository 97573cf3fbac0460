/** @file Garbage in the queue, put there past every check of ours. */
import { afterEach, expect, test, vi } from 'vitest';
import { KEYS, PREFIX } from '../../../src/jobs/names.ts';
import { FaultWorld, until } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 });

let world: FaultWorld;
afterEach(() => world.close());

test('garbage is refused once, can be looked at, and keeps nobody from working', async () => {
  world = await FaultWorld.open();
  const { client } = world.connection;
  const queue = world.queue('probe');
  await client.sadd(KEYS.queues, 'probe', 'no such: queue');
  const bad = world.probeMessage('bad', {});
  await queue.add('x', { evil: true }, { jobId: 'not-a-message', attempts: 5 });
  await queue.add('x', { ...bad, out: 7 }, { jobId: 'no-folder', attempts: 5 });
  await queue.add('x', { ...bad, settings: { seconds: 'NaN' } }, { jobId: 'bad-settings', attempts: 5 });
  await queue.add('x', { ...bad, stage: '../../etc' }, { jobId: 'bad-stage', attempts: 5 });
  await client.hset(
    `${PREFIX}:probe:no-json`,
    'name',
    'x',
    'data',
    '{"kind": ',
    'opts',
    '{}',
    'timestamp',
    '1',
  );
  await client.set(`${PREFIX}:probe:no-hash`, 'text');
  for (const id of ['no-json', 'no-hash']) await client.lpush(`${PREFIX}:probe:wait`, id);
  const good = await world.probe('good');
  const worker = world.worker();
  expect(await world.ended(good.root)).toBe('completed');
  const expected = ['not-a-message', 'no-folder', 'bad-settings', 'bad-stage', 'no-json', 'no-hash'];
  await until(
    async () => (await client.zcard(`${PREFIX}:probe:failed`)) === expected.length,
    30,
    () => worker.text,
  );
  expect((await client.zrange(`${PREFIX}:probe:failed`, '0', '-1')).sort()).toEqual([...expected].sort());
  for (const id of ['not-a-message', 'no-folder', 'bad-settings', 'bad-stage']) {
    const job = await queue.getJob(id);
    expect(job?.attemptsMade, id).toBeLessThanOrEqual(1);
    expect(job?.failedReason, id).toMatch(/expected|refused|found/);
  }
  expect(await world.queue('probe').getJobCounts('wait', 'active', 'delayed')).toEqual({
    wait: 0,
    active: 0,
    delayed: 0,
  });
});
