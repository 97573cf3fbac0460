/** @file Whole flows through Redis and two workers: the bytes of `unfold run`, with every job done once. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { silent } from '../../../src/context.ts';
import { enqueuePipeline } from '../../../src/jobs/enqueue.ts';
import { follow } from '../../../src/jobs/watch/follow.ts';
import { type FlowView, jobsOf } from '../../../src/jobs/watch/view.ts';
import { type RunningWorker, startWorker } from '../../../src/jobs/worker/worker.ts';
import { runPipeline } from '../../../src/pipeline/pipeline.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { differences } from '../../support/same-bytes.ts';
import { type FlowWorld, flowWorld } from './support.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let world: FlowWorld;
let workers: RunningWorker[];
beforeAll(async () => {
  await useBackend();
  world = await flowWorld();
  const options = { queue: world.redis.url, concurrency: 1, lockMilliseconds: 10_000, roots: [world.dir] };
  const scratch = join(world.dir, 'scratch');
  workers = await Promise.all([1, 2].map(() => startWorker({ ...options, scratch }, silent())));
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.close()));
  await world.close();
});

async function finish(flows: string[]): Promise<FlowView[]> {
  const views = await follow(world.queue, flows, () => {});
  const failed = views.flatMap(jobsOf).filter(({ state }) => state !== 'completed');
  expect(failed.map(({ id, failedReason }) => `${id}: ${failedReason}`)).toEqual([]);
  return views;
}

describe('two workers', () => {
  it('end a pipeline with the bytes of unfold run; queued again, it is finished', async () => {
    const whole = await runPipeline(world.tiny, { out: join(world.dir, 'whole') });
    const out = join(world.dir, 'queued');
    const { flow } = await enqueuePipeline(world.tiny, { out, parts: 3 }, world.queue, silent());
    const [view] = await finish([flow]);
    expect(await differences(whole.out, out)).toEqual([]);
    const parts = jobsOf(view!).filter(({ part }) => part !== undefined);
    expect(parts.map(({ part }) => part).sort()).toEqual(['shard-0', 'shard-3', 'shards-1-2']);
    expect(view!.roots[0]!.result).toMatchObject({ pipeline: 'tiny', ...whole.metrics });
    await expect(readFile(join(out, `${flow}.queue.json`))).rejects.toThrow();
    const again = await enqueuePipeline(world.tiny, { out }, world.queue, silent());
    expect(again.state).toBe('finished before');
  });

  it('share out a sweep, with the bytes of one pass', async () => {
    const whole = await runPipeline(world.sweep, { out: join(world.dir, 'sweep-whole') });
    const out = join(world.dir, 'sweep-queued');
    const { flow } = await enqueuePipeline(world.sweep, { out }, world.queue, silent());
    const [view] = await finish([flow]);
    expect(await differences(whole.out, out)).toEqual([]);
    const parts = jobsOf(view!).filter(({ part, stage }) => part !== undefined && stage !== 'harvest');
    expect(parts.map(({ stage, part }) => `${stage} ${part}`).sort()).toEqual(
      ['evaluate', 'train'].flatMap((stage) =>
        ['first', 'relu_2', 'second'].map((name) => `${stage} ${name}`),
      ),
    );
  });

  it('run what two flows in one folder share once', async () => {
    const out = join(world.dir, 'shared');
    // Shards of their own size: those of the first test would be used here otherwise.
    const set = ['train.k=8', 'train.k=4'].map((setting) => ['harvest.shard_rows=512', setting]);
    const queued = await Promise.all(
      set.map((one) => enqueuePipeline(world.tiny, { out, set: one }, world.queue, silent())),
    );
    const views = await finish(queued.map(({ flow }) => flow));
    const made = views.flatMap(jobsOf).filter(({ stage }) => stage === 'harvest');
    const shards = made.map(({ result }) => (result as { shards_made?: number }).shards_made ?? 0);
    const sum = shards.reduce((total, count) => total + count, 0);
    // The last one may be made by a job that found nothing else to share out, which does not count it.
    expect([7, 8]).toContain(sum);
  });

  it('use in one folder what is finished, or being made, in another', async () => {
    const outs = ['one', 'other'].map((name) => join(world.dir, name));
    const set = ['harvest.shard_rows=2048'];
    const queued = [];
    for (const out of outs)
      queued.push(await enqueuePipeline(world.tiny, { out, set }, world.queue, silent()));
    await finish(queued.map(({ flow }) => flow));
    expect(await differences(outs[0]!, outs[1]!)).toEqual([]);
    for (const file of [
      'harvest/activations/data-00000-of-00002.arrow',
      'train/run/final/sae_weights.safetensors',
    ]) {
      const [one, other] = await Promise.all(outs.map((out) => stat(join(out, file))));
      expect(one!.ino, file).toBe(other!.ino);
    }
  });
});
