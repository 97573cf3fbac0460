import { spawnSync } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { checkDisk } from '../src/harvest/plan.ts';
import { lockShards } from '../src/lock.ts';
import { folder } from './harvest/helpers.ts';

let dir: string;
beforeEach(async () => {
  dir = await folder();
});

test('overlapping ranges exclude each other, disjoint ones do not', async () => {
  const first = await lockShards(dir, { first: 0, last: 3 });
  const error = await lockShards(dir, { first: 3, last: 5 }).catch((e: unknown) => e);
  expect(error).toMatchObject({
    kind: 'locked',
    lesson: { found: `process ${process.pid} on ${hostname()} holds shards 0 to 3` },
  });
  const second = await lockShards(dir, { first: 4, last: 5 });
  first();
  (await lockShards(dir, { first: 0, last: 2 }))();
  second();
  expect(await readdir(dir)).toEqual([]);
});

test('the lock of a process that is gone is taken over', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  for (const holder of [pid, process.pid]) {
    const text = JSON.stringify({ first: 0, last: 9, host: hostname(), pid: holder });
    await writeFile(join(dir, '.lock-0-9'), text);
    (await lockShards(dir, { first: 0, last: 9 }))();
  }
  expect(await readdir(dir)).toEqual([]);
});

test('the lock of a living process, or of another machine a moment ago, holds', async () => {
  for (const [host, pid] of [
    [hostname(), process.ppid],
    ['elsewhere', 1],
  ] as const) {
    await writeFile(join(dir, '.lock-0-9'), JSON.stringify({ first: 0, last: 9, host, pid }));
    await expect(lockShards(dir, { first: 0, last: 9 })).rejects.toMatchObject({ kind: 'locked' });
  }
});

test('a disk that is too small is refused before anything is written, with both numbers', async () => {
  await checkDisk(dir, 1);
  await expect(checkDisk(dir, 1e18)).rejects.toMatchObject({
    kind: 'disk-full',
    lesson: {
      expected: expect.stringContaining('1000000000.0 GB'),
      todo: expect.stringContaining('--force'),
    },
  });
});
