/** @file Settings as YAML: what is plain data is read, and everything else is refused with its place. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readSettings } from '../src/harvest/config-file.ts';
import { readPipeline } from '../src/pipeline/pipeline.ts';
import { parseYaml, plainValue } from '../src/yaml.ts';

const dir = mkdtempSync(join(tmpdir(), 'unfold-yaml-'));
afterAll(() => rmSync(dir, { recursive: true }));

const valueIn = (text: string) => plainValue(parseYaml(text, 'f.yaml'));

describe('YAML', () => {
  it('may name a value once and use it again, merge keys included', () => {
    expect(valueIn('a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}')).toEqual({
      a: { k: 1 },
      b: { k: 1 },
      c: { k: 1, l: 2 },
    });
    expect(valueIn('\uFEFFa: 1')).toEqual({ a: 1 });
    expect(valueIn('coders: {16: {k: 16}}')).toEqual({ coders: { 16: { k: 16 } } });
  });

  const laughs = Array.from(
    { length: 12 },
    (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i}, `.repeat(9)}*a${i}]`,
  );
  it.each([
    ['an alias without an anchor', 'name: x\nmodel: *x\n', /f\.yaml:2:8[\s\S]*no &x before it/],
    ['a list that holds itself', 'name: x\nmodel: &a [*a]\n', /f\.yaml:2:12[\s\S]*hold itself/],
    ['a mapping that holds itself', 'a: &a\n  b:\n    c: *a\n', /f\.yaml:3:8[\s\S]*hold itself/],
    ['aliases of aliases without end', `a0: &a0 lol\n${laughs.join('\n')}`, /alias/],
    ['20,000 levels of brackets', `a: ${'['.repeat(20_000)}${']'.repeat(20_000)}`, /more than 200 levels/],
    ['20,000 levels of dashes', `a:\n ${'- '.repeat(20_000)}1`, /more than 200 levels/],
    [
      '300 levels of indentation',
      Array.from({ length: 300 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
      /f\.yaml:201[\s\S]*levels/,
    ],
    ['500 levels', `a: ${'['.repeat(500)}${']'.repeat(500)}`, /more than 200 levels/],
    ['a tag', 'a: !!python/object {}', /f\.yaml:1:4[\s\S]*tag/],
    ['a key twice', 'a: 1\nb: 2\na: 3', /f\.yaml:3:1[\s\S]*unique/],
    ['a key that is a list', '? [a, b]\n: 1', /f\.yaml:1:3[\s\S]*not a name/],
    ['a key that is nothing', 'a: {null: 1}', /f\.yaml:1:5[\s\S]*not a name/],
    ['two documents', 'a: 1\n---\na: 2', /multiple documents/],
    ['a NUL character', 'a: 1\nb: \0', /f\.yaml:2[\s\S]*NUL/],
    ['other bytes than UTF-8', Buffer.from([0x61, 0x3a, 0x20, 0xff]).toString('utf8'), /not UTF-8/],
  ])('is refused: %s', (_what, text, message) => {
    expect(() => valueIn(text)).toThrow(message);
  });
});

describe('a file of settings', () => {
  const inside = (name: string) => join(dir, name);
  mkdirSync(inside('folder.yaml'));
  symlinkSync('loop.yaml', inside('loop.yaml'));
  writeFileSync(inside('utf16.yaml'), Buffer.from('\uFEFFname: x\n', 'utf16le'));
  writeFileSync(inside('empty.yaml'), '');
  execFileSync('mkfifo', [inside('pipe.yaml')]);

  it.each([
    ['folder.yaml', /a folder/],
    ['loop.yaml', /a link that leads to itself/],
    ['pipe.yaml', /a named pipe/],
    ['utf16.yaml', /UTF-8/],
    ['missing.yaml', /no such file/],
  ])('that is none is refused, as settings and as a pipeline: %s', async (name, message) => {
    await expect(readSettings(inside(name))).rejects.toThrow(message);
    await expect(readPipeline(inside(name))).rejects.toThrow(message);
  });

  it('has settings in it', async () => {
    await expect(readSettings(inside('empty.yaml'))).rejects.toThrow(/nothing/);
    await expect(readPipeline(inside('empty.yaml'))).rejects.toThrow(/required/);
    for (const [text, what] of [
      ['- 1', 'a list'],
      ['train', 'a string'],
      ['train: 5', 'train'],
    ] as const) {
      writeFileSync(inside('odd.yaml'), text);
      if (what !== 'train') await expect(readSettings(inside('odd.yaml'))).rejects.toThrow(what);
      await expect(readPipeline(inside('odd.yaml'))).rejects.toMatchObject({ name: 'UnfoldError' });
    }
  });
});
