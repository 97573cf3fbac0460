/** @file kill -9 of workers and of their children in the middle of a shard, of training, of an export. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { TinyPipeline } from './pipeline.ts';
import { FaultWorld, has, kill, until, type WorkerProcess } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

/** What is seen in the run directory in the middle of a shard, of training, of an export. */
const MOMENTS: readonly (readonly [stage: string, seen: RegExp])[] = [
  ['harvest', /^harvest-\w+\/activations\/data-.*\.part$/],
  ['train', /^train-\w+\/run\/checkpoints\/step-\d+$/],
  ['train', /^train-\w+\/run\/final\..*\.part$/],
];

let world: FaultWorld;
let pipeline: TinyPipeline;
beforeAll(async () => {
  world = await FaultWorld.open();
  pipeline = await TinyPipeline.in(world);
});
afterAll(() => world.close());

/** Kills something at each of the moments, or as soon after it as can be. */
async function disturbed(
  name: string,
  strike: (current: WorkerProcess) => Promise<WorkerProcess>,
): Promise<number> {
  let worker = await world.worker().ready();
  const { root } = await pipeline.enqueue(name);
  const out = join(world.dir, name);
  let strikes = 0;
  for (const [stage, moment] of MOMENTS) {
    const isOver = () => has(out, new RegExp(`^${stage}-\\w+/stage\\.json$`));
    await until(() => has(out, moment) || isOver());
    if (isOver()) continue;
    worker = await strike(worker);
    strikes++;
  }
  expect(await world.ended(root)).toBe('completed');
  await worker.kill();
  return strikes;
}

test('workers are killed in the middle of a shard, of training, of an export: same bytes', async () => {
  const strikes = await disturbed('workers', async (worker) => {
    const next = world.worker();
    await worker.kill();
    return next.ready();
  });
  expect(strikes).toBeGreaterThanOrEqual(2);
  expect(await pipeline.differences('workers')).toEqual([]);
});

test('their children are killed at the same moments: same bytes', async () => {
  const strikes = await disturbed('children', async (worker) => {
    for (const child of worker.children) kill(child);
    return worker;
  });
  expect(strikes).toBeGreaterThanOrEqual(2);
  expect(await pipeline.differences('children')).toEqual([]);
});
