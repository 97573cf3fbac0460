/** @file Outputs that are links stay links; what they lead to is written, whole, with nothing left beside it. */
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { silent } from '../src/context.ts';
import { writeFolder, writeJson } from '../src/files.ts';
import { ShardWriter } from '../src/shards/writer.ts';
import { FileStore } from '../src/storage/file-store.ts';
import { pull } from '../src/storage/pull.ts';
import { besideFolder, isMountPoint, targetOf } from '../src/targets.ts';
import { createStore } from '../src/text/store-writer.ts';

let dir: string;
let disk: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unfold-links-'));
  disk = await mkdtemp(join(tmpdir(), 'unfold-disk-'));
});
const isLink = async (path: string) => (await lstat(path)).isSymbolicLink();

test('a file is written behind its link, be the link whole, relative, chained or leading to nothing yet', async () => {
  await writeFile(join(disk, 'there.json'), 'old');
  await symlink(join(disk, 'there.json'), join(dir, 'whole.json'));
  await symlink('whole.json', join(dir, 'chained.json'));
  await symlink(join(disk, 'new', 'folder', 'x.json'), join(dir, 'dangling.json'));
  await writeJson(join(dir, 'chained.json'), 1);
  await writeJson(join(dir, 'dangling.json'), 2);
  expect(await readFile(join(disk, 'there.json'), 'utf8')).toBe('1\n');
  expect(await readFile(join(disk, 'new/folder/x.json'), 'utf8')).toBe('2\n');
  for (const name of ['whole.json', 'chained.json', 'dangling.json'])
    expect(await isLink(join(dir, name))).toBe(true);
  expect((await readdir(disk)).sort()).toEqual(['new', 'there.json']);
});

test('a link is followed from where it really lies', async () => {
  await mkdir(join(disk, 'deep', 'er'), { recursive: true });
  await symlink(join(disk, 'deep', 'er'), join(dir, 'in'));
  await symlink('../x.json', join(disk, 'deep', 'er', 'up.json'));
  expect(await targetOf(join(dir, 'in', 'up.json'))).toBe(join(disk, 'deep', 'x.json'));
});

test('links in a circle are a lesson', async () => {
  await symlink('b', join(dir, 'a'));
  await symlink('a', join(dir, 'b'));
  await expect(writeJson(join(dir, 'a'), 1)).rejects.toMatchObject({
    kind: 'not-writable',
    lesson: { found: expect.stringContaining('links') },
  });
});

test('a folder takes the place of what its link leads to, there or not yet', async () => {
  await mkdir(join(disk, 'old'));
  await writeFile(join(disk, 'old', 'stale'), '');
  await symlink(join(disk, 'old'), join(dir, 'out'));
  await symlink(join(disk, 'fresh'), join(dir, 'dangling'));
  const fill = async (part: string) => {
    expect(part.startsWith(disk)).toBe(true);
    await writeFile(join(part, 'x'), 'new');
  };
  await writeFolder(join(dir, 'out'), 'dead', fill);
  await writeFolder(join(dir, 'dangling'), 'all', fill);
  expect(await readlink(join(dir, 'out'))).toBe(join(disk, 'old'));
  expect(await isLink(join(dir, 'dangling'))).toBe(true);
  expect((await readdir(disk, { recursive: true })).sort()).toEqual(['fresh', 'fresh/x', 'old', 'old/x']);
});

test('a folder that could not be filled leaves the old one and nothing beside it', async () => {
  await mkdir(join(disk, 'old'));
  await symlink(join(disk, 'old'), join(dir, 'out'));
  const failing = writeFolder(join(dir, 'out'), 'dead', () => Promise.reject(new Error('power cut')));
  await expect(failing).rejects.toThrow('power cut');
  expect(await readdir(disk)).toEqual(['old']);
});

test('the root of a mounted disk is filled from within', async () => {
  expect(await isMountPoint('/proc')).toBe(true);
  expect(await besideFolder('/proc')).toBe('/proc/proc');
  expect(await besideFolder(dir)).toBe(dir);
});

test('shards, tokens and copied files are written behind links, too', async () => {
  const names = ['data-00000-of-00001.arrow', 'tokens', 'copied', 'put'];
  for (const name of names) await symlink(join(disk, name), join(dir, name));
  const shard = {
    hooks: [{ name: 'h', width: 1 }],
    dtype: 'float32',
    contentHash: 'x',
    firstBlock: 0,
  } as const;
  await (await ShardWriter.create(join(dir, names[0]!), shard)).finish();
  const tokens = await createStore(join(dir, 'tokens'), { context_size: 2, vocabSize: 9, made_from: {} });
  tokens.add(Int32Array.of(1, 2));
  (await tokens.finish({ documents: 1, document_tokens: 2, text_characters: 2 })).close();
  const from = new FileStore(await mkdtemp(join(tmpdir(), 'unfold-from-')));
  await from.put('copied', { bytes: Buffer.from('bytes') });
  await pull(from, '', dir, {}, silent());
  await new FileStore(dir).put('put', { bytes: Buffer.from('bytes') });
  for (const name of names) expect(await isLink(join(dir, name))).toBe(true);
  expect((await readdir(disk)).sort()).toEqual([...names].sort());
});
