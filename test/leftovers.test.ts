/** @file What killed processes left is swept away; what living ones, and those of other machines, are at stays. */
import { mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { sweepLeftovers } from '../src/leftovers.ts';
import { thisHolder } from '../src/lock/holder.ts';
import { lockDirectory } from '../src/lock.ts';
import { partOf } from '../src/parts.ts';

test('parts and locks of the dead go, at any depth; the rest stays', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'unfold-leftovers-'));
  const deep = join(dir, 'stage', 'run');
  await mkdir(deep, { recursive: true });
  const [, place] = /\.([0-9a-f]{6})-\d+-/.exec(partOf('x'))!;
  const gone = { ...thisHolder(), pid: 2 ** 22 + 1, born: '77' };
  const elsewhere = { ...gone, boot: 'another', beat: '0000000001' };
  await mkdir(join(deep, `final.${place}-${gone.pid}-77-a1.part`, 'half'), { recursive: true });
  await writeFile(join(dir, `.train.${place}-${gone.pid}-77-b2.part`), '');
  await writeFile(join(deep, '.lock'), JSON.stringify(gone));
  await writeFile(join(dir, '.lock-0-3'), JSON.stringify(elsewhere));
  const kept = [basename(partOf('mine')), `other.abcdef-1-1-1.part`, '.lock-0-3', 'stage'];
  for (const name of kept.slice(0, 2)) await writeFile(join(dir, name), '');
  const held = await lockDirectory(join(dir, 'stage'));
  await sweepLeftovers(dir);
  expect(await readdir(deep)).toEqual([]);
  expect((await readdir(dir)).sort()).toEqual(kept.sort());
  expect(JSON.parse(await readFile(join(dir, 'stage', '.lock'), 'utf8'))).toMatchObject({ pid: process.pid });
  await held.release();
  await sweepLeftovers(join(dir, 'nothing here'));
});
