/** @file The scratch folder after its process was killed while it made room. */
import { mkdir, mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { partOf } from '../../src/parts.ts';
import { Scratch } from '../../src/storage/scratch.ts';

test('copies whose removal a dead process had begun are removed; those of a living one stay', async () => {
  const root = await mkdtemp(join(tmpdir(), 'unfold-scratch-'));
  const scratch = await Scratch.open(root, 's3://bucket/run', silent());
  const living = partOf(join(scratch.run, 'train-1'));
  const dead = living.replace(`-${process.pid}-`, `-${2 ** 22 + 1}-`);
  for (const path of [living, dead]) {
    await mkdir(path);
    await writeFile(join(path, 'large'), 'x');
  }
  await scratch.makeRoom(0);
  expect(await readdir(scratch.run)).toEqual([basename(living)]);
});
