/** @file A run on a disk that is too small for each of its files in turn. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { UnfoldError } from '../../src/errors.ts';
import { runPipeline } from '../../src/pipeline/pipeline.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { limited } from '../support/file-limit.ts';
import { differences } from '../support/same-bytes.ts';
import { canMount, type SmallDisk, smallDisk } from '../support/small-disk.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const PIPELINE = `
name: tiny
model: checkpoints/novels-4l
text: {dataset: datasets/novels-heldout, pool_tokens: 20000, max_tokens: 2048, context_size: 64}
harvest: {hook_names: [blocks.1.hook_resid_pre], shard_rows: 64, batch_contexts: 1}
train: {d_sae: 64, k: 8, training_tokens: 2048, train_batch_size_tokens: 128, lr: 0.004, checkpoint_every_steps: 3, log_every_steps: 1}
evaluate: {text: {dataset: datasets/novels-heldout, pool_tokens: 20000, skip_contexts: 100, max_tokens: 512}}
summary: {text: {dataset: datasets/novels-heldout, pool_tokens: 20000, skip_contexts: 100, max_tokens: 1024}, features: 2, examples: 1}
`;

let dir: string;
let file: string;
let disk: SmallDisk | undefined;
beforeAll(async () => {
  await useBackend();
  dir = await mkdtemp(join(tmpdir(), 'unfold-full-'));
  file = join(dir, 'tiny.yaml');
  await writeFile(file, PIPELINE);
});
afterAll(async () => {
  disk?.unmount();
  await rm(dir, { recursive: true });
});

let undisturbed: string;
beforeAll(async () => {
  undisturbed = join(dir, 'undisturbed');
  await runPipeline(file, { out: undisturbed });
});

test('a limit on the size of files that grows by and by: met again and again, never wrong', async () => {
  const out = join(dir, 'limited');
  const line = [process.execPath, '--import', 'tsx', 'src/cli/main.ts', 'run', file, '--out', out, '--json'];
  const where: string[] = [];
  for (let kilobytes = 4; ; kilobytes *= 4) {
    const [program, ...args] = limited(line, kilobytes);
    const { status, stdout } = spawnSync(program!, args, {
      env: { ...process.env, TSX_DISABLE_CACHE: '1' },
      encoding: 'utf8',
    });
    if (status === 0) break;
    const { error } = JSON.parse(stdout) as { error: { kind: string; where: string } };
    expect(error.kind).toBe('disk-full');
    where.push(/([a-z]+)-[0-9a-f]{8}/.exec(error.where)?.[1] ?? 'out');
  }
  expect(where).toEqual(expect.arrayContaining(['harvest', 'train']));
  expect(await differences(undisturbed, out)).toEqual([]);
});

test.runIf(canMount)('a disk that grows in steps of 64 kB: full again and again, never wrong', async () => {
  let size = 64 << 10;
  disk = smallDisk(size);
  const out = join(disk.dir, 'out');
  const where = new Set<string>();
  for (;;) {
    try {
      await runPipeline(file, { out });
      break;
    } catch (error) {
      expect(error).toBeInstanceOf(UnfoldError);
      const { kind, lesson } = error as UnfoldError;
      expect(kind).toBe('disk-full');
      where.add(/([a-z]+)-[0-9a-f]{8}/.exec(lesson.where)?.[1] ?? 'out');
      size += 64 << 10;
      disk.resize(size);
    }
  }
  expect([...where]).toEqual(expect.arrayContaining(['harvest', 'train']));
  expect(await differences(undisturbed, out)).toEqual([]);
});
