import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '../..');

/** A package folder that holds what the build reads, and an earlier build's objects. */
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'unfold-build-'));
  for (const part of ['scripts', 'src/tensor/native', 'build/native', 'package.json']) {
    cpSync(path.join(root, part), path.join(folder, part), { recursive: true });
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const build = (env: Record<string, string> = {}, ...flags: string[]) => {
  const started = performance.now();
  const script = path.join(folder, 'scripts/build-native.mjs');
  const { status, stderr } = spawnSync(process.execPath, [script, ...flags], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  return { status, stderr, seconds: (performance.now() - started) / 1000 };
};
const record = () => JSON.parse(readFileSync(path.join(folder, 'build/native/build.json'), 'utf8'));

describe('npm ci', () => {
  it('succeeds without a compiler, and says what is slower and how to mend it', () => {
    const { status, stderr } = build({ CXX: '', PATH: path.join(folder, 'nothing') });
    expect(status).toBe(0);
    expect(stderr.trim().split('\n')).toHaveLength(2);
    expect(stderr).toMatch(/no C\+\+ compiler/);
    expect(stderr).toMatch(/slower/);
    expect(stderr).toMatch(/npm run build:native/);
    expect(record()).toMatchObject({ ok: false, mend: expect.stringContaining('npm run build:native') });
  });

  it('fails where the build was asked for by name', () => {
    expect(build({ CXX: '', PATH: path.join(folder, 'nothing') }, '--force').status).toBe(1);
  });
});
