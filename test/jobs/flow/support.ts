/** @file Tiny pipelines, as in test/flow, that run in seconds, and a queue for a test file. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silent } from '../../../src/context.ts';
import { openQueue, type QueueConnection } from '../../../src/jobs/redis/open.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';

const SHARED = `
model: checkpoints/novels-4l
text: {dataset: datasets/novels-heldout, pool_tokens: 30000, max_tokens: 4096, context_size: 64}
evaluate: {text: {dataset: datasets/novels-heldout, pool_tokens: 30000, skip_contexts: 100, max_tokens: 512}}
`;

/** One coder; four shards. */
export const TINY = `
name: tiny
${SHARED}
harvest: {hook_names: [blocks.1.hook_resid_pre], shard_rows: 1024, batch_contexts: 8}
train: {d_sae: 128, k: 8, training_tokens: 2048, train_batch_size_tokens: 128, lr: 0.004, checkpoint_every_steps: 3}
summary: {text: {dataset: datasets/novels-heldout, pool_tokens: 30000, skip_contexts: 100, max_tokens: 2048}, features: 2, examples: 2}
`;

/** Three coders of two hooks. */
export const SWEEP = `
name: tiny-sweep
${SHARED}
harvest: {hook_names: [blocks.1.hook_resid_pre, blocks.2.hook_resid_pre], shard_rows: 2048, batch_contexts: 8}
train:
  d_sae: 128
  training_tokens: 2048
  train_batch_size_tokens: 128
  lr: 0.004
  k: 8
  hook_name: blocks.1.hook_resid_pre
  coders:
    first: {}
    second: {hook_name: blocks.2.hook_resid_pre}
    relu.2: {architecture: standard, l1_coefficient: 2}
`;

/** A folder for runs with the pipelines in it, and a Redis of its own. */
export interface FlowWorld {
  dir: string;
  tiny: string;
  sweep: string;
  redis: TestRedis;
  queue: QueueConnection;
  close(): Promise<void>;
}

export async function flowWorld(): Promise<FlowWorld> {
  const dir = await mkdtemp(join(tmpdir(), 'unfold-jobs-flow-'));
  const [tiny, sweep] = [join(dir, 'tiny.yaml'), join(dir, 'sweep.yaml')];
  await writeFile(tiny, TINY);
  await writeFile(sweep, SWEEP);
  const redis = await startRedis();
  const queue = await openQueue(redis.url, silent());
  return {
    ...{ dir, tiny, sweep, redis, queue },
    async close() {
      await queue.close();
      await redis.stop();
      await rm(dir, { recursive: true });
    },
  };
}
