/** @file Workers whose clocks are minutes off. */
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { addJobs } from '../../../src/jobs/enqueue.ts';
import { PREFIX } from '../../../src/jobs/names.ts';
import { preload } from '../../support/preload.ts';
import { TinyPipeline } from './pipeline.ts';
import { FaultWorld, has, until } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 });

const ahead = (minutes: number) =>
  preload('skewed-clock.mjs', { UNFOLD_TEST_CLOCK_AHEAD: String(60_000 * minutes) });

let world: FaultWorld;
afterEach(() => world.close());

test('one clock ten minutes fast, one ten minutes slow, one worker killed: same bytes, no lock lost', async () => {
  world = await FaultWorld.open();
  const pipeline = await TinyPipeline.in(world);
  const fast = world.worker({}, ahead(10));
  const slow = world.worker({}, ahead(-10));
  await Promise.all([fast.ready(), slow.ready()]);
  expect(fast.text).toMatch(/clock of this machine is 10m00s ahead/);
  expect(slow.text).toMatch(/clock of this machine is 10m00s behind/);
  const { root } = await pipeline.enqueue('out');
  const out = join(world.dir, 'out');
  await until(() => has(out, /^train-\w+\/run\/checkpoints\/step-\d+$/));
  // The one that trains: its work goes to the other, whose clock is twenty minutes off.
  const trainer = /\.train: begun/.test(fast.text) ? fast : slow;
  await trainer.kill();
  expect(await world.ended(root)).toBe('completed');
  expect(`${fast.text}${slow.text}`).not.toMatch(/lock is lost/);
  expect(await pipeline.differences('out')).toEqual([]);
});

test('a job that is longer than its lock stays one job, though its worker’s clock is ten minutes fast', async () => {
  world = await FaultWorld.open();
  await Promise.all([world.worker({}, ahead(10)).ready(), world.worker().ready()]);
  const jobs = [await world.probe('a', { seconds: 5 }), await world.probe('b', { seconds: 5, busy: true })];
  for (const { root } of jobs) expect(await world.ended(root)).toBe('completed');
  for (const name of ['a', 'b']) expect(world.probeFile(name)).toMatchObject({ completed: 1, starts: 1 });
});

test('what a worker ten minutes fast puts off comes back on time, also to one that is ten minutes slow', async () => {
  world = await FaultWorld.open();
  const fast = await world.worker({}, ahead(10)).ready();
  const { root } = await world.probe('again', { fail: 'error', failures: 1 });
  await until(() => /again\.probe: failed, will be tried again/.test(fast.text));
  await fast.kill();
  // The first pause is at most five seconds.
  const due = await dueIn('probe', root.id);
  expect(due).toBeGreaterThan(0);
  expect(due).toBeLessThanOrEqual(5000);
  await world.worker({}, ahead(-10)).ready();
  expect(await world.ended(root, 15)).toBe('completed');
});

test('a delay is counted by the queue’s clock, not by that of whoever takes the job', async () => {
  world = await FaultWorld.open();
  const { root } = await addJobs(
    world.connection,
    { message: world.probeMessage('later', {}), children: [] },
    { delay: 120_000 },
  );
  await world.worker({}, ahead(10)).ready();
  const other = await world.probe('now');
  expect(await world.ended(other.root)).toBe('completed');
  expect(await world.queue('probe').getJobState(root.id)).toBe('delayed');
});

/** Milliseconds until a delayed job may be taken, by Redis's clock. */
async function dueIn(queue: string, id: string): Promise<number> {
  const { client } = world.connection;
  const score = Number(await client.zscore(`${PREFIX}:${queue}:delayed`, id));
  // BullMQ counts the jobs of one millisecond in the last twelve bits.
  return Math.floor(score / 0x1000) - (await world.connection.time());
}
