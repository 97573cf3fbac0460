/** @file Many processes that need the same tokens at the same moment. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

vi.setConfig({ testTimeout: 60_000 });

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'unfold-tokens-'));
});
afterEach(() => rm(cache, { recursive: true, force: true }));

const command = ['--import', 'tsx', join(import.meta.dirname, 'corpus-child.ts')];

async function child(): Promise<{ tokenised: boolean; hash: string; sum: number }> {
  const { stdout } = await promisify(execFile)(process.execPath, [...command, cache]);
  return JSON.parse(stdout) as { tokenised: boolean; hash: string; sum: number };
}

test('eight processes tokenise once between them and see the same tokens', async () => {
  const found = await Promise.all(Array.from({ length: 8 }, child));
  expect(found.filter(({ tokenised }) => tokenised)).toHaveLength(1);
  expect(new Set(found.map(({ hash, sum }) => `${hash} ${sum}`)).size).toBe(1);
  expect((await readdir(cache)).map((name) => name.replace(/^[0-9a-f]+/, 'KEY')).sort()).toEqual([
    'KEY.bin',
    'KEY.bin.json',
  ]);
});

test('one that is killed while it tokenises is succeeded by another, and leaves nothing behind', async () => {
  const victim = spawn(process.execPath, [...command, cache, 'die'], { stdio: 'ignore' });
  const [, signal] = (await once(victim, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  expect((await readdir(cache)).some((name) => name.endsWith('.lock'))).toBe(true);
  const found = await Promise.all(Array.from({ length: 3 }, child));
  expect(found.filter(({ tokenised }) => tokenised)).toHaveLength(1);
  expect(await readdir(cache)).toHaveLength(2);
});
