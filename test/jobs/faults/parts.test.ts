/** @file Sharing a job out, disturbed: its worker dies between two of the parts, or somebody cancels at that moment. */
import { join } from 'node:path';
import { type Job, Worker } from 'bullmq';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silent } from '../../../src/context.ts';
import { executeJob } from '../../../src/jobs/execute.ts';
import { type JobMessage, jobId } from '../../../src/jobs/message.ts';
import { KEYS } from '../../../src/jobs/names.ts';
import { cancel, resolve, retry } from '../../../src/jobs/watch/actions.ts';
import { addParts } from '../../../src/jobs/worker/parts.ts';
import { TinyPipeline } from './pipeline.ts';
import { FaultWorld, until } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 });

const REQUEST = { by: 'ada@lab', reason: 'wrong text' };

let world: FaultWorld;
let pipeline: TinyPipeline;
beforeEach(async () => {
  world = await FaultWorld.open();
  pipeline = await TinyPipeline.in(world);
});
afterEach(() => world.close());

/** The harvest of a queued pipeline in the hands of a worker that has thought out its parts. */
async function sharing(): Promise<{
  flow: string;
  root: { queue: string; id: string };
  job: Job;
  parts: JobMessage[];
}> {
  const { flow, root } = await pipeline.enqueue('out');
  const first = world.worker({ stages: ['corpus'] });
  await until(async () => (await world.queue('harvest').getWaitingCount()) > 0);
  await first.kill();
  const taker = new Worker('harvest', null, { ...world.connection.bullmq(), lockDuration: 1000 });
  taker.on('error', () => {});
  const job = await taker.getNextJob('a worker that dies', { block: false });
  await taker.close(true);
  const outcome = await executeJob(job!.data, { scratch: join(world.dir, 'scratch') }, silent());
  if (outcome.type !== 'split') throw new Error('nothing to share out');
  return { flow, root, job: job!, parts: outcome.parts };
}

test('a worker dies when it has added half of the parts: each is done once, to the same bytes', async () => {
  const { root, job, parts } = await sharing();
  expect(parts.length).toBeGreaterThan(3);
  await addParts(world.connection, job, parts.slice(0, parts.length / 2));
  await world.worker({ concurrency: 2 }).ready();
  expect(await world.ended(root)).toBe('completed');
  const completions = await world.completions('harvest');
  expect(new Set(completions.values())).toEqual(new Set([1]));
  expect(await pipeline.differences('out')).toEqual([]);
});

test('parts that are added while their flow is cancelled are cancelled too, and retry takes all of it up again', async () => {
  const { flow, root, job, parts } = await sharing();
  const before = await resolve(world.connection, flow);
  await addParts(world.connection, job, parts);
  // As it looked before the parts were there.
  const { cancelled, asked } = await cancel(world.connection, before, REQUEST);
  expect(asked).toEqual([job.id]);
  expect(cancelled.sort()).toEqual(parts.map(jobId).sort());
  const worker = await world.worker().ready();
  expect(await world.ended({ queue: 'harvest', id: job.id! })).toBe('failed');
  const { flow: seen, jobs } = await resolve(world.connection, flow);
  expect(seen.state).toBe('cancelled');
  expect(worker.text).not.toMatch(/harvest\.\S+: begun/);
  await retry(world.connection, jobs);
  expect(await world.ended(root)).toBe('completed');
  expect(await world.connection.client.exists(KEYS.cancel)).toBe(0);
  expect(await pipeline.differences('out')).toEqual([]);
});
