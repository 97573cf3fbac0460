/** @file Coders of runs are held against what their run recorded, wherever they are opened; a link is no second coder. */
import { cp, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { loadCoder } from '../../../src/coders/coder.ts';
import { openCoders } from '../../../src/coders/formats/registry.ts';
import { silent } from '../../../src/context.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { checkpointSteps } from '../../../src/train/checkpoint.ts';
import { train } from '../../../src/train/train.ts';
import { SETTINGS } from '../../train/settings-of-tests.ts';
import { syntheticSource } from '../../train/support.ts';

let dir: string;
beforeAll(async () => {
  await useBackend('cpu');
  dir = await mkdtemp(join(tmpdir(), 'unfold-recorded-'));
  await train({ out: join(dir, 'run-1'), rows: syntheticSource(), settings: SETTINGS.topk }, silent());
  await symlink('run-1', join(dir, 'run'));
}, 120_000);

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(path, bytes);
}

it('opens a folder and a link to it as one coder', async () => {
  const { entries } = await openCoders(dir);
  expect(entries.map(({ name }) => name)).toEqual(['run']);
});

it('refuses a coder, a copy of its run and a checkpoint of which a bit was turned over', async () => {
  const copy = join(await mkdtemp(join(tmpdir(), 'unfold-recorded-')), 'copy');
  await cp(join(dir, 'run-1'), copy, { recursive: true });
  (await loadCoder(join(copy, 'final'))).dispose();
  const [step] = await checkpointSteps(copy);
  const checkpoint = join(copy, 'checkpoints', `step-${step}`);
  for (const path of [
    join(copy, 'final', 'sae_weights.safetensors'),
    join(checkpoint, 'sae_weights.safetensors'),
  ]) {
    await flip(path);
    await expect(loadCoder(join(path, '..'))).rejects.toMatchObject({
      kind: 'damaged',
      lesson: { where: path },
    });
  }
  await flip(join(copy, 'final', 'cfg.json'));
  await expect(openCoders(copy)).rejects.toThrow('cfg.json');
});
