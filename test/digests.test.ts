/** @file Identity by content: whatever is done to a file's dates and name, another content has another hash. */
import {
  appendFile,
  cp,
  link,
  mkdtemp,
  open,
  readFile,
  rename,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import { silent } from '../src/context.ts';
import { Digests } from '../src/digests.ts';
import { sha256 } from '../src/files.ts';
import { hashInputs } from '../src/jobs/kinds/inputs.ts';
import { openShards } from '../src/shards/reader.ts';
import { findDataset } from '../src/text/dataset.ts';
import { fingerprint } from '../src/text/fingerprint.ts';

/** Large enough to be remembered. */
const BYTES = 5 * 2 ** 20;
const later = () => vi.setSystemTime(Date.now() + 10_000);
let dir: string;
let path: string;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  dir = await mkdtemp(join(tmpdir(), 'unfold-digests-'));
  vi.stubEnv('UNFOLD_CACHE', await mkdtemp(join(tmpdir(), 'unfold-digests-')));
  path = join(dir, 'a.txt');
  await writeFile(path, 'x'.repeat(BYTES));
  later();
  return () => {
    vi.useRealTimers();
    vi.unstubAllEnvs();
  };
});

/** Another content of the same size, and the date of the old one put back. */
async function rewrite(file: string, text = 'y'): Promise<void> {
  const before = await stat(file);
  const handle = await open(file, 'r+');
  await handle.write(text, 17);
  await handle.close();
  await utimes(file, before.atime, before.mtime);
  expect((await stat(file)).size).toBe(before.size);
}

const digest = async () => (await (await Digests.open(dir)).of([path]))[0];

test('a hash is remembered with the state of the file, and a rewrite in place with its old date is noticed', async () => {
  const first = await digest();
  expect(first).toBe(sha256(await readFile(path)));
  const memory = join(dir, 'hashes.json');
  await writeFile(memory, (await readFile(memory, 'utf8')).replace(first!, 'remembered'));
  expect(await digest()).toBe('remembered');
  await rewrite(path);
  expect(await digest()).toBe(sha256(await readFile(path)));
});

test('another file in its place, with its date, is noticed', async () => {
  const first = await digest();
  const other = join(dir, 'b.txt');
  await writeFile(other, 'z'.repeat(BYTES));
  const { atime, mtime } = await stat(path);
  await utimes(other, atime, mtime);
  await rename(other, path);
  expect(await digest()).not.toBe(first);
});

test('a file that changed a moment ago is hashed again', async () => {
  vi.setSystemTime((await stat(path)).ctime);
  await digest();
  await expect(readFile(join(dir, 'hashes.json'))).rejects.toThrow('ENOENT');
});

test('a damaged memory is none, and so is one of names that objects have', async () => {
  for (const memory of ['{', '[]', '{"__proto__": {"mark": "", "sha256": ""}}']) {
    await writeFile(join(dir, 'hashes.json'), memory);
    expect(await digest()).toBe(sha256(await readFile(path)));
  }
});

test('a file that grows while it is hashed is refused, and hashing can be stopped', async () => {
  const digests = await Digests.open(null);
  const bar = { update: () => {}, finish: () => {} };
  const signal = AbortSignal.abort(new Error('stopped'));
  await expect(digests.of([path], { ...silent(signal), bar: () => bar })).rejects.toThrow('stopped');
  const growing = digests.of([path]);
  await appendFile(path, 'more');
  await link(path, join(dir, 'c.txt'));
  await expect(growing).rejects.toMatchObject({ kind: 'unstable-file', lesson: { where: path } });
});

test('inputs of a job count by content, whatever their size and date', async () => {
  const before = await hashInputs([dir, path]);
  expect(await hashInputs([dir, path])).toEqual(before);
  await rewrite(path);
  const after = await hashInputs([dir, path]);
  expect(after[path]).not.toBe(before[path]);
  expect(after[dir]).not.toBe(before[dir]);
});

test('text counts by content, whatever its size and date', async () => {
  const hash = async () => fingerprint(await findDataset({ dataset: path, format: 'auto' }), dir, silent());
  const before = await hash();
  await rewrite(path);
  expect(await hash()).not.toBe(before);
});

test('activations of other programs count by content: other values of the same shape are other rows', async () => {
  const rows = join(dir, 'rows');
  await cp('test/fixtures/shards/cached_activations', rows, { recursive: true });
  const before = (await openShards(rows)).contentHash;
  await writeFile(join(rows, 'dataset_info.json'), '{}');
  expect((await openShards(rows)).contentHash).toBe(before);
  const file = join(rows, 'data-00002-of-00003.arrow');
  const bytes = await readFile(file);
  const at = bytes.length - 5000;
  bytes[at]! ^= 1;
  await writeFile(file, bytes);
  expect((await openShards(rows)).contentHash).not.toBe(before);
});
