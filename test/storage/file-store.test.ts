/** @file Artifacts in a folder. */
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStore } from '../../src/storage/open.ts';
import { describeStore, listOf } from '../suites/artifact-store.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'unfold-files-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describeStore({
  name: 'folder',
  conditional: true,
  many: 1050,
  open: (place) => openStore(join(root, place)),
});

test('a store on a path says where stages can work in place', async () => {
  const store = await openStore(join(root, 'place'));
  expect(store.localPath).toBe(join(root, 'place'));
  expect(store.url).toBe(join(root, 'place'));
});

test('links and unfinished files are not listed; links are not followed', async () => {
  const dir = join(root, 'links');
  await mkdir(join(dir, 'real'), { recursive: true });
  await writeFile(join(dir, 'real', 'a'), 'a');
  await writeFile(join(dir, 'real', 'b.part'), 'half');
  await symlink('real', join(dir, 'pointer'));
  await symlink('/etc/hostname', join(dir, 'file'));
  const store = await openStore(dir);
  expect((await listOf(store)).map(({ name }) => name)).toEqual(['real/a']);
  await expect(store.read('file')).rejects.toMatchObject({ kind: 'missing-file' });
});

test('a put that fails leaves no unfinished file, and the last file of a folder takes the folder along', async () => {
  const dir = join(root, 'tidy');
  const store = await openStore(dir);
  await store.put('f/g/a', { bytes: Buffer.from('a') });
  await expect(store.put('f/g/a', { bytes: Buffer.from('b') }, { ifAbsent: true })).rejects.toMatchObject({
    kind: 'exists',
  });
  expect(await readdir(join(dir, 'f/g'))).toEqual(['a']);
  await store.remove('f/g/a');
  expect(await readdir(dir)).toEqual([]);
});

test('a file where a folder should be is said to be one', async () => {
  const store = await openStore(join(root, 'clash'));
  await store.put('a', { bytes: Buffer.from('a') });
  await expect(store.put('a/b', { bytes: Buffer.from('b') })).rejects.toMatchObject({ kind: 'bad-storage' });
});

test.each([
  ['gs://bucket/x', 'a place of another kind'],
  ['https://bucket/x', 'a place of another kind'],
  ['s3://', 'the bucket “”'],
  ['s3://bucket/a?endpiont=http://x', 'the parameter “endpiont”'],
  ['s3://bucket/a?endpoint=localhost:9000', 'endpoint=localhost:9000'],
  ['s3://bucket/../b', 'a path with dots'],
])('the place %s is refused with a lesson', async (place, found) => {
  await expect(openStore(place)).rejects.toMatchObject({ kind: 'bad-setting', lesson: { found } });
});

test('credentials in a URL are refused and not repeated', async () => {
  const error = await openStore('s3://AKIA:secret@bucket/x').catch((thrown: Error) => thrown);
  expect(error).toMatchObject({ kind: 'bad-setting' });
  expect(String(error)).not.toContain('secret');
});
