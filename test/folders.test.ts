/** @file Folders are made with those above them, and a place where none can be made says so soon. */

import { existsSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { explainDisk, writeJson } from '../src/files.ts';
import { makeFolder, makeFolderSync } from '../src/folders.ts';
import { lockDirectory } from '../src/lock.ts';

test('with those above them, at the same time, and again', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'unfold-folders-'));
  const deep = join(dir, 'a/b/c/d');
  await Promise.all(Array.from({ length: 8 }, () => makeFolder(deep)));
  makeFolderSync(join(dir, 'x/y/z'));
  await makeFolder('.');
  expect(existsSync(deep) && existsSync(join(dir, 'x/y/z'))).toBe(true);
  await writeFile(join(dir, 'file'), '');
  await symlink(join(dir, 'nothing'), join(dir, 'dangling'));
  for (const name of ['file', 'file/x', 'dangling', 'dangling/x', 'n'.repeat(300), 'a\0b']) {
    await expect(makeFolder(join(dir, name)), name).rejects.toThrow();
    expect(() => makeFolderSync(join(dir, name)), name).toThrow();
  }
  await rm(dir, { recursive: true });
});

test.runIf(process.platform === 'linux')('where no folder can be: at once, with a lesson', async () => {
  for (const place of ['/proc/none/a/b', '/proc/1/a', '/sys/none/a', '/dev/null/a']) {
    const error = await makeFolder(place).catch((thrown: unknown) => explainDisk(thrown, place));
    expect(error, place).toMatchObject({ kind: 'not-writable' });
    await expect(writeJson(`${place}/x.json`, {}), place).rejects.toMatchObject({ kind: 'not-writable' });
    await expect(lockDirectory(place), place).rejects.toMatchObject({ kind: 'not-writable' });
  }
});
