/** @file Coder files made by disks, accidents and attackers: every one ends as a good read or as a lesson, soon. */
import { execFileSync } from 'node:child_process';
import { cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openCoders } from '../../../src/coders/formats/registry.ts';
import { UnfoldError } from '../../../src/errors.ts';
import { openTorchFile } from '../../../src/pickle/torch-file.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { DAMAGED_CODERS, outcomeOf, runCoders, trials } from '../../support/coder-damage.ts';
import { fixture, kindOf, scratchFolder } from './support.ts';

const scratch = await scratchFolder();
beforeAll(() => useBackend('cpu'));
let copies = 0;

async function copied(folder: string): Promise<string> {
  const dir = join(scratch, `copy-${copies++}`, basename(folder));
  await cp(`test/fixtures/${folder}`, dir, { recursive: true });
  return dir;
}

describe.each(DAMAGED_CODERS)('$folder: $file', (coder) => {
  const { folder, file, isFile } = coder;

  it('damaged in many ways is read or refused', async () => {
    const dir = await copied(folder);
    const faults: string[] = [];
    let tried = 0;
    for await (const { what, outcome } of trials(coder, dir, { count: 24, step: 23 })) {
      tried++;
      if (typeof outcome === 'object') faults.push(`${what}: ${outcome.internal}`);
    }
    expect(tried).toBe(24);
    expect(faults).toEqual([]);
  });

  it.each<[string, (path: string) => unknown]>([
    ['a folder', (path) => mkdir(path)],
    ['a named pipe', (path) => execFileSync('mkfifo', [path])],
    ['a link to itself', (path) => symlink(path, path)],
    ['a device without end', (path) => symlink('/dev/zero', path)],
    ['a link into the void', (path) => symlink('nowhere', path)],
    ['an empty file', (path) => writeFile(path, '')],
    ['bytes that are no text', (path) => writeFile(path, Buffer.from([0xff, 0xfe, 0, 0xc3, 0x28]))],
  ])('%s in its place is named', async (_what, make) => {
    const dir = await copied(folder);
    const path = join(dir, file);
    await rm(path);
    await make(path);
    expect(await outcomeOf(() => runCoders(isFile ? path : dir))).toBe('lesson');
  });
});

it('a set of many thousand entries, links in circles and names of no text is walked once', async () => {
  const dir = join(scratch, 'many');
  await cp(fixture('sparsify/topk'), dir, { recursive: true });
  await symlink(dir, join(dir, 'h.2', 'round'));
  await symlink('..', join(dir, 'up'));
  await symlink('me', join(dir, 'me'));
  await writeFile(Buffer.concat([Buffer.from(join(dir, 'x')), Buffer.from([0xff, 0xfe])]), 'x');
  await Promise.all(Array.from({ length: 3000 }, (_, i) => writeFile(join(dir, `note-${i}.txt`), '')));
  const { entries } = await openCoders(dir);
  expect(entries.map(({ name }) => name)).toContain('h.2');
});

/** The bytes of a pickle of protocol 2 around a program. */
const pickle = (...parts: (string | number[])[]): Buffer =>
  Buffer.concat([
    Buffer.from([0x80, 2]),
    ...parts.map((part) => Buffer.from(part as string, 'latin1')),
    Buffer.from('.'),
  ]);

describe('pickles', () => {
  it.each<[string, Buffer, string]>([
    ['lists in lists, 300,000 deep', pickle(']'.repeat(300_000), 'a'.repeat(299_999)), 'bad-pickle'],
    ['tuples in tuples', pickle('N', '\x85'.repeat(300_000)), 'bad-pickle'],
    ['a list that holds itself', pickle(']q\0h\0a'), 'bad-pickle'],
    ['text of 2^63 bytes', pickle('\x8d', [0, 0, 0, 0, 0, 0, 0, 0x80]), 'bad-pickle'],
    ['an integer of 2^31 bytes', pickle('\x8b', [0, 0, 0, 0x80]), 'bad-pickle'],
    ['a memo entry that is not there', pickle('j', [0xff, 0xff, 0xff, 0x7f]), 'bad-pickle'],
    ['text that is not UTF-8', pickle('X', [2, 0, 0, 0, 0xc3, 0x28]), 'bad-pickle'],
    ['a million doublings', pickle('N', '2'.repeat(1_000_001)), 'bad-pickle'],
    ['a dictionary under numbers', pickle('}K\x01Ns'), 'bad-pickle'],
    ['a call of the system', pickle('cos\nsystem\n(X\x02\0\0\0lst', [0x74], 'R'), 'unsafe-pickle'],
  ])('%s', async (name, bytes, kind) => {
    const path = join(scratch, `${copies++}.pt`);
    await writeFile(path, bytes);
    expect([name, await kindOf(openCoders(path))]).toEqual([name, kind]);
  });

  it('values nested deeply are data, and cost no stack', async () => {
    const path = join(scratch, 'deep.pt');
    await writeFile(path, pickle(']'.repeat(200_000), 'a'.repeat(199_999)));
    const file = await openTorchFile(path);
    expect(Array.isArray(file.value)).toBe(true);
    await file.close();
  });
});

it.each([
  [{ k: 257 }, /k 257, of 256 latents/],
  [{ k: 0 }, /k/],
  [{ k: 1e308 }, /k/],
  [{ d_in: 2 ** 31 }, /tensor W_enc/],
  [{ d_sae: -1 }, /d_sae/],
  [{ d_sae: 0 }, /d_sae/],
  [{ d_in: '128' }, /d_in/],
])('%j of a topk coder is refused before anything is made', async (change, message) => {
  const dir = await copied('coders/saelens/topk');
  const { readJson, writeJson } = await import('../../../src/files.ts');
  const cfg = (await readJson(join(dir, 'cfg.json'))) as object;
  await writeJson(join(dir, 'cfg.json'), { ...cfg, ...change });
  const error = await openCoders(dir).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UnfoldError);
  expect((error as Error).message).toMatch(message);
});
