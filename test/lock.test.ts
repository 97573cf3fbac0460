import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockDirectory } from '../src/lock.ts';

describe('the lock of a run directory', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'unfold-lock-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('keeps a second holder out, says who holds it, and is free again after release', async () => {
    const lock = await lockDirectory(dir);
    await expect(lockDirectory(dir)).rejects.toThrow(new RegExp(`process ${process.pid}`));
    await lock.release();
    await (await lockDirectory(dir)).release();
    expect(await readdir(dir)).toEqual([]);
  });

  it('is taken over from a process that is gone', async () => {
    const gone = { pid: 2 ** 22 + 1, host: hostname(), since: 'yesterday' };
    await writeFile(join(dir, '.lock'), JSON.stringify(gone));
    await (await lockDirectory(dir)).release();
  });

  it('is taken over when the pid now belongs to another process', async () => {
    const recycled = { pid: process.pid, host: hostname(), born: '1', since: 'last boot' };
    await writeFile(join(dir, '.lock'), JSON.stringify(recycled));
    await (await lockDirectory(dir)).release();
  });

  it('is respected when it belongs to another machine', async () => {
    await writeFile(join(dir, '.lock'), JSON.stringify({ pid: 1, host: 'elsewhere', since: 'today' }));
    await expect(lockDirectory(dir)).rejects.toThrow(/elsewhere/);
  });

  it('goes to exactly one of many contenders for a stale lock', async () => {
    await writeFile(
      join(dir, '.lock'),
      JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), since: 'yesterday' }),
    );
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(dir)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });
});
