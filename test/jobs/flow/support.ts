/** @file Tiny pipelines, as in test/flow, that run in seconds, and a queue for a test file. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silent } from '../../../src/context.ts';
import { executeJob } from '../../../src/jobs/execute.ts';
import { type JobTree, messagesOf } from '../../../src/jobs/flow.ts';
import { type JobMessage, jobId, parseMessage } from '../../../src/jobs/message.ts';
import { openQueue, type QueueConnection } from '../../../src/jobs/redis/open.ts';
import { isRemote } from '../../../src/storage/url.ts';
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

/** Does a tree as a worker would, through JSON; returns the ids of all that was done, and the root's result. */
export async function perform(
  tree: JobTree,
  scratch: string | (() => string),
): Promise<{ done: string[]; result: Record<string, unknown> }> {
  if (!isRemote(tree.message.out)) await mkdir(tree.message.out, { recursive: true });
  const done: string[] = [];
  let result: Record<string, unknown> = {};
  const one = async (message: JobMessage): Promise<void> => {
    const arrived = parseMessage(JSON.parse(JSON.stringify(message)), 'test');
    const outcome = await executeJob(
      arrived,
      { scratch: typeof scratch === 'string' ? scratch : scratch() },
      silent(),
    );
    if (outcome.type === 'split') {
      for (const part of outcome.parts.toReversed()) await one(part);
      return one({ ...message, phase: 'join' } as JobMessage);
    }
    done.push(jobId(message));
    result = outcome.result;
  };
  for (const message of messagesOf(tree).reverse()) await one(message);
  return { done, result };
}
