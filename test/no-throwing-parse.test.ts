/** @file What comes from outside is held against its schema by `checked`, whose error is a lesson: zod's own throwing parse is not called. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** Calls that may stay, with the reason. */
const ALLOWED: Readonly<Record<string, string>> = {
  'train/settings.ts trainSettings.parse({})': 'a constant: the defaults',
  'train/sweep-file.ts trainSettings.parse({})': 'a constant: the defaults',
  'text/contexts.ts corpusSpecSchema.parse({': 'contexts in memory, which a program made',
  'model/tokenizer/files.ts tokenizerJson.parse({': 'put together here from files that were checked',
  'jobs/watch/job-view.ts progressShape.parse(': 'a shape that falls back to its defaults and never throws',
  'text/store.ts headerSchema.parse(': 'caught where it is: such a file is made again',
};

const source = join(import.meta.dirname, '../src');
const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
);

test('zod’s throwing parse is called on nothing that came from outside', () => {
  const found = files.flatMap((file) =>
    readFileSync(join(source, file), 'utf8')
      .split('\n')
      .filter((line) => /\.parse\(/.test(line) && !/\b(JSON|Date|path)\.parse\(/.test(line))
      .map((line) => `${file} ${line.trim()}`),
  );
  const known = Object.keys(ALLOWED).map((entry) => entry.split(' ') as [string, string]);
  const strange = found.filter(
    (line) => !known.some(([file, call]) => line.startsWith(`${file} `) && line.includes(call)),
  );
  expect(strange).toEqual([]);
  expect(files.length).toBeGreaterThan(300);
});
