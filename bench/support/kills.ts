/**
 * @file Runs of `unfold run` that are struck at random moments (kill -9, TERM, INT, STOP and CONT) and run again until they end:
 * their bytes are compared with those of a run that nobody disturbed, and what is left over is counted. Seeded: the same
 * strikes, as far as the machine takes the same time.
 */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../src/random.ts';
import { attempt, judge, newStruck, randomStrike, type Struck, strikeAt, type Target } from './strike.ts';

const TEXT = 'dataset: datasets/novels-heldout, pool_tokens: 10000, context_size: 32';
const PIPELINE = `
name: struck
model: checkpoints/novels-4l
text: {${TEXT}, max_tokens: 2048}
harvest: {hook_names: [blocks.0.hook_resid_pre], shard_rows: 512, batch_contexts: 8}
train: {d_sae: 64, training_tokens: 2048, train_batch_size_tokens: 64, lr: 0.004, k: 4, checkpoint_every_steps: 4}
evaluate: {text: {${TEXT}, skip_contexts: 70, max_tokens: 512}}
summary: {text: {${TEXT}, skip_contexts: 70, max_tokens: 512}, features: 2, examples: 1}
`;

/** Strikes `strikes` times, up to three a run. */
export async function strikeRuns(strikes: number, seed: number): Promise<Struck> {
  const random = Random.of(seed, 'kills');
  const dir = await mkdtemp(join(tmpdir(), 'unfold-kills-'));
  const [work, pipeline] = [join(dir, 'run'), join(dir, 'struck.yaml')];
  const args = ['run', pipeline, '--out', work, '--quiet'];
  const target: Target = { name: 'run', args, work, cache: join(dir, 'cache') };
  await writeFile(pipeline, PIPELINE);
  const struck = newStruck();
  try {
    const began = performance.now();
    await attempt(target);
    const lasts = performance.now() - began;
    const undisturbed = join(dir, 'undisturbed');
    await rename(work, undisturbed);
    for (let left = strikes; left > 0; ) {
      const here = Math.min(left, 1 + random.below(3));
      await strikeAt(
        target,
        Array.from({ length: here }, () => randomStrike(random, lasts)),
        struck,
      );
      left -= here;
      await judge(target, undisturbed, struck);
    }
    return struck;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
