/** @file Atomic files: a failed write leaves the old file and no trace; a full disk is explained. */
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { UnfoldError } from '../src/errors.ts';
import {
  hashOf,
  readJson,
  sha256,
  sha256File,
  writeAtomically,
  writeFileAtomically,
  writeJson,
} from '../src/files.ts';
import { partOf } from '../src/parts.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'unfold-files-'));
});

test('a write that fails half-way leaves the old content and no temporary file', async () => {
  const path = join(folder, 'a.txt');
  await writeFileAtomically(path, 'old');
  const failing = writeAtomically(path, async (file) => {
    await file.writeFile('half');
    throw new Error('power cut');
  });
  await expect(failing).rejects.toThrow('power cut');
  expect(await readFile(path, 'utf8')).toBe('old');
  expect(await readdir(folder)).toEqual(['a.txt']);
});

test('two writers of one path never write into one another’s bytes; the last one wins, whole', async () => {
  const path = join(folder, 'both');
  const write = (letter: string) =>
    writeAtomically(path, async (file) => {
      for (let i = 0; i < 50; i++) await file.writeFile(letter.repeat(1000));
    });
  await Promise.all(['a', 'b', 'c'].map(write));
  expect(await readFile(path, 'utf8')).toMatch(/^(a{50000}|b{50000}|c{50000})$/);
  expect(await readdir(folder)).toEqual(['both']);
});

test('what dead processes left unfinished is removed by the next writer, what living ones write is not', async () => {
  const path = join(folder, 'x.json');
  const [, place] = /\.([0-9a-f]{6})-\d+-/.exec(partOf(path))!;
  const dead = [`x.json.${place}-${2 ** 22 + 1}-77-1.part`, `x.json.${place}-${process.pid}-1-1.part`];
  const kept = [`x.json.abcdef-1-1-1.part`, `x.json.more.part`, basename(partOf(path))];
  for (const name of [...dead, ...kept]) await writeFile(join(folder, name), 'half');
  await writeJson(path, {});
  expect((await readdir(folder)).sort()).toEqual(['x.json', ...kept].sort());
});

test('a place that cannot be written to is the user’s to mend', async () => {
  await writeFile(join(folder, 'file'), '');
  for (const path of ['file/x.json', 'file/folder/x.json'])
    await expect(writeJson(join(folder, path), {})).rejects.toMatchObject({ kind: 'not-writable' });
});

test('a full disk becomes a lesson that says nothing is lost', async () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  const writing = writeAtomically(join(folder, 'b'), () => Promise.reject(full));
  await expect(writing).rejects.toMatchObject({ kind: 'disk-full' });
  await expect(writing).rejects.toThrow(/finished files are kept/);
});

test('equal settings have equal hashes whatever the order of their keys', () => {
  expect(hashOf({ a: 1, b: { c: [2, 3], d: null } })).toBe(hashOf({ b: { d: null, c: [2, 3] }, a: 1 }));
  expect(hashOf({ a: 1 })).not.toBe(hashOf({ a: 2 }));
});

test('sha256 of "abc" is the standard\'s first example, from memory and from a file', async () => {
  const standard = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  await writeFileAtomically(join(folder, 'abc'), 'abc');
  expect([sha256('abc'), await sha256File(join(folder, 'abc'))]).toEqual([standard, standard]);
});

test('JSON goes there and back; malformed and missing files are named', async () => {
  await writeJson(join(folder, 'x.json'), { a: [1, null] });
  expect(await readJson(join(folder, 'x.json'))).toEqual({ a: [1, null] });
  await writeFileAtomically(join(folder, 'bad.json'), '{"a": ');
  await expect(readJson(join(folder, 'bad.json'))).rejects.toThrow(/bad\.json[\s\S]*expected {2}JSON/);
  await expect(readJson(join(folder, 'none.json'))).rejects.toBeInstanceOf(UnfoldError);
});
