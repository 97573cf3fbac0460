/** @file The trial of damaged files, small: every kind of file is met, and what hangs or aborts is found and passed over. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { mutations } from '../../bench/mutations.ts';
import { Watched } from '../../bench/support/mutation-watch.ts';

test('of files of every kind each is read or refused', async () => {
  const tallies = await mutations(8);
  expect(tallies.size).toBeGreaterThan(10);
  for (const [kind, { tried, good, lessons, faults }] of tallies) {
    expect([kind, faults]).toEqual([kind, []]);
    expect(good + lessons, kind).toBe(tried);
    expect(tried, kind).toBeGreaterThan(0);
  }
});

test('a process that hangs is killed, one that aborts is told apart, and the next goes on', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'unfold-watch-'));
  const child = new Watched(folder, 4_000);
  try {
    const none = { good: 0, lessons: 0, internal: 0, tried: 1 };
    expect(await child.try({ last: 'abort' })).toMatchObject({ ...none, hangs: 0, aborts: 1 });
    expect(await child.try({ last: 'hang' })).toMatchObject({
      ...none,
      hangs: 1,
      aborts: 0,
      faults: ['hang: hangs'],
    });
    const part = { how: 'fields', from: 0, count: 3 } as const;
    expect(await child.try({ subject: 0, part })).toMatchObject({
      tried: 3,
      hangs: 0,
      aborts: 0,
      faults: [],
    });
  } finally {
    child.end();
    await rm(folder, { recursive: true, force: true });
  }
});
