/** @file kill -9 of Redis in the middle of a pipeline: with an append-only file, and with nothing on disk. */
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { requeue } from '../../../src/jobs/enqueue.ts';
import { TinyPipeline } from './pipeline.ts';
import { FaultWorld, has, until } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 });

let world: FaultWorld;
afterEach(() => world.close());

const TRAINING = /^train-\w+\/run\/checkpoints\/step-\d+$/;

test('Redis with an append-only file is killed and comes back: the flow goes on by itself to the same bytes', async () => {
  world = await FaultWorld.open({ aof: true });
  const pipeline = await TinyPipeline.in(world);
  await Promise.all([world.worker().ready(), world.worker().ready()]);
  const { root } = await pipeline.enqueue('out');
  const waiting = await world.probe('waiting', { seconds: 0 });
  await until(() => has(join(world.dir, 'out'), TRAINING));
  await world.redis.kill();
  await world.redis.restart();
  expect(await world.ended(root)).toBe('completed');
  expect(await world.ended(waiting.root)).toBe('completed');
  expect(await pipeline.differences('out')).toEqual([]);
});

test('Redis without a disk forgets all: one command queues again what the folders say, and only that', async () => {
  world = await FaultWorld.open();
  const pipeline = await TinyPipeline.in(world);
  await world.worker().ready();
  const before = await world.probe('before');
  expect(await world.ended(before.root)).toBe('completed');
  const { root } = await pipeline.enqueue('out');
  await until(() => has(join(world.dir, 'out'), TRAINING));
  await world.redis.kill();
  await world.redis.restart();
  const [again, ...others] = await requeue([world.dir], world.connection);
  expect(again).toMatchObject({ root, state: 'queued' });
  expect(others).toEqual([]);
  expect(await world.ended(root)).toBe('completed');
  expect(await pipeline.differences('out')).toEqual([]);
  expect(await requeue([world.dir], world.connection)).toEqual([]);
});
