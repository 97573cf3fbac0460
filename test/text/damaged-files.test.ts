/** @file Damaged files of every kind, read to the end: values or a lesson, soon. What fails here is had again by its seed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Subject, subjects } from '../support/read-everything.ts';
import { trial } from '../support/trial.ts';

let dir: string;
let all: Subject[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unfold-damaged-'));
  vi.stubEnv('UNFOLD_CACHE', join(dir, 'cache'));
  all = await subjects(join(dir, 'subjects'));
});
afterAll(() => rm(dir, { recursive: true }));

test('what is sound is read', async () => {
  for (const { name, path, read } of all)
    if (!['lz4.arrow', 'ids.null.arrow'].includes(name))
      expect(await read(path, new AbortController().signal), name).toBeGreaterThan(0);
});

test('300 damages end in values or a lesson within five seconds each', async () => {
  for (const subject of all) {
    const { read, refused, faults } = await trial(subject, 1000, 12);
    expect(faults).toEqual([]);
    expect(read + refused).toBe(12);
  }
});
