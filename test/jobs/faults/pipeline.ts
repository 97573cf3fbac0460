/** @file A pipeline that takes some seconds, with files to be killed at, and its undisturbed run to compare with. */
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { silent } from '../../../src/context.ts';
import { type Enqueued, enqueuePipeline } from '../../../src/jobs/enqueue.ts';
import { runPipeline } from '../../../src/pipeline/pipeline.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { differences } from '../../support/same-bytes.ts';
import type { FaultWorld } from './world.ts';

const TEXT = `
name: tiny
model: checkpoints/novels-4l
text: {dataset: datasets/novels-heldout, pool_tokens: 40000, max_tokens: 16384, context_size: 64}
harvest: {hook_names: [blocks.1.hook_resid_pre], shard_rows: 2048, batch_contexts: 8}
train: {d_sae: 256, k: 8, training_tokens: 32768, train_batch_size_tokens: 128, lr: 0.004, checkpoint_every_steps: 20, log_every_steps: 10}
evaluate: {text: {dataset: datasets/novels-heldout, pool_tokens: 40000, skip_contexts: 200, max_tokens: 1024}}
summary: {text: {dataset: datasets/novels-heldout, pool_tokens: 40000, skip_contexts: 200, max_tokens: 1024}, features: 2, examples: 1}
`;

/** The pipeline in a world. */
export class TinyPipeline {
  readonly world: FaultWorld;
  readonly file: string;
  readonly undisturbed: string;

  private constructor(world: FaultWorld) {
    this.world = world;
    this.file = join(world.dir, 'tiny.yaml');
    this.undisturbed = join(world.dir, 'undisturbed');
  }

  /** Runs it once in this process. */
  static async in(world: FaultWorld): Promise<TinyPipeline> {
    const pipeline = new TinyPipeline(world);
    await writeFile(pipeline.file, TEXT);
    await useBackend();
    await runPipeline(pipeline.file, { out: pipeline.undisturbed });
    return pipeline;
  }

  /** Into `name`, a folder of the world or an absolute path. */
  async enqueue(name: string): Promise<Enqueued> {
    const out = resolve(this.world.dir, name);
    return enqueuePipeline(this.file, { out }, this.world.connection, silent());
  }

  /** What differs from the undisturbed run. */
  async differences(name: string): Promise<string[]> {
    return differences(this.undisturbed, resolve(this.world.dir, name));
  }
}
