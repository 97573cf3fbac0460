/** @file Many jobs and several workers, killed at random (bench/queue.ts is the same with ten times as many). */
import { expect, test } from 'vitest';
import { manyJobs } from '../../../bench/support/many-jobs.ts';
import { FaultWorld } from './world.ts';

test('1,000 jobs, four workers, three kills with -9: nothing lost, nothing done twice', async () => {
  const world = await FaultWorld.open();
  try {
    const how = { jobs: 1000, workers: 4, kills: 3, seed: 5, lockMilliseconds: 3000 };
    expect(await manyJobs(world, 'many', how)).toMatchObject({ lost: 0, done_twice: 0, failed: 0, kills: 3 });
  } finally {
    await world.close();
  }
}, 240_000);
