import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { brief, checked } from '../src/checked.ts';
import { readJson } from '../src/files.ts';
import { cleanLines, printable } from '../src/printable.ts';
import { levelsOf, openToRead, parseJson, readText } from '../src/read.ts';

const reading = { expected: 'a text', todo: 'write one' };
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unfold-read-'));
});

describe('files that somebody else made', () => {
  it.each([
    ['folder', (path: string) => mkdir(path), /a folder/],
    ['link', (path: string) => symlink(path, path), /a link that leads to itself/],
    ['pipe', async (path: string) => execFileSync('mkfifo', [path]), /a named pipe/],
    ['nothing', async () => undefined, /no such file/],
  ])('names a %s in place of a file, at once', async (name, make, words) => {
    const path = join(dir, name);
    await make(path);
    await expect(readText(path, reading)).rejects.toThrow(words);
    await expect(openToRead(path, reading)).rejects.toThrow(words);
    await expect(readJson(path)).rejects.toThrow(words);
  });

  it('refuses what is larger than such a file may be before reading it', async () => {
    await writeFile(join(dir, 'large'), '12345');
    await expect(readText(join(dir, 'large'), { ...reading, most: 4 })).rejects.toThrow(
      /5 bytes, more than the 4/,
    );
    expect(await readText(join(dir, 'large'), { ...reading, most: 5 })).toBe('12345');
  });
});

describe('JSON', () => {
  it('counts levels outside of strings only', () => {
    expect(levelsOf('{"a":[1,[2]],"b":"[[[[\\"[["}')).toBe(3);
    expect(levelsOf('1')).toBe(0);
  });

  it('refuses depth, and says where a text does not parse', () => {
    expect(() => parseJson('['.repeat(20_000) + ']'.repeat(20_000), 'x.json')).toThrow(
      /more than 200 levels/,
    );
    expect(() => parseJson('{"a":', 'x.json')).toThrow(/5 characters that do not parse/);
    expect(parseJson(`${'['.repeat(200)}1${']'.repeat(200)}`, 'x')).toBeTypeOf('object');
  });
});

describe('settings', () => {
  const schema = z.strictObject({ k: z.int().positive(), lr: z.number() });

  it('names every wrong one with what was found', () => {
    expect(() => checked(schema, { k: 1.5, lr: 'x' }, { where: 'settings' })).toThrow(/k: 1\.5 .*; lr: "x"/);
    expect(() => checked(schema, { k: 1, lr: 1, n: 2 }, { where: 'settings' })).toThrow(/found {5}n /);
    expect(checked(schema, { k: 1, lr: 1 }, { where: 'settings' })).toEqual({ k: 1, lr: 1 });
  });

  it('shows any value in a line', () => {
    const loop: unknown[] = [];
    loop.push(loop);
    expect(brief(loop)).toBe('a value that cannot be written as JSON');
    expect([brief(null), brief(Number.NaN), brief(2n), brief(undefined)]).toEqual([
      'null',
      'NaN',
      '2',
      'nothing',
    ]);
    expect(brief('x'.repeat(100))).toHaveLength(78);
  });
});

describe('text on its way to a terminal', () => {
  it('makes control characters visible', () => {
    expect(printable('a\u001b[2Jb\n\u0007\u009b1m\u202ec')).toBe('a\\x1b[2Jb\\x0a\\x07\\x9b1m\\u202ec');
    expect(printable('naïve 日本 👍')).toBe('naïve 日本 👍');
  });

  it('keeps line ends, and our own colours where they are on', () => {
    expect(cleanLines('\u001b[31mred\u001b[39m\n\u001b]0;title\u0007', true)).toBe(
      '\u001b[31mred\u001b[39m\n\\x1b]0;title\\x07',
    );
    expect(cleanLines('\u001b[31mred', false)).toBe('\\x1b[31mred');
  });
});
