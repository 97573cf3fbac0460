/** @file Files that carry their own checksum: any changed digit is seen, the order of keys does not matter. */
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSealed, sealed, sealOf, writeSealed } from '../src/seal.ts';

const VALUE = { step: 12, sums: { loss: 0.125, none: undefined, squares: [1e-9, -0] }, name: 'ü' };

test('every digit of a sealed file is vouched for', async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'unfold-seal-')), 'state.json');
  await writeSealed(path, VALUE);
  const text = await readFile(path, 'utf8');
  expect(await readSealed(path, '')).toMatchObject({ step: 12 });
  for (const { index } of text.matchAll(/\d/g)) {
    const other = text[index] === '7' ? '8' : '7';
    await writeFile(path, text.slice(0, index) + other + text.slice(index + 1));
    await expect(readSealed(path, 'make it again')).rejects.toMatchObject({
      lesson: { where: path, todo: 'make it again' },
    });
  }
});

test('a seal is of the content, in any order, and is renewed', () => {
  const once = sealed({ a: 1, b: 2 });
  expect(sealOf(once)).toBe('sound');
  expect(sealOf({ seal: once.seal, b: 2, a: 1 })).toBe('sound');
  expect(sealOf({ ...once, c: 3 })).toBe('broken');
  expect(sealed({ ...once, a: 5 })).toEqual(sealed({ a: 5, b: 2 }));
  for (const other of [null, 3, [], {}]) expect(sealOf(other)).toBe('none');
});
