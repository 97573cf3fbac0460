/** @file Outputs that are no files: a FIFO, a device. Each ends at once in a lesson, and is there afterwards as it was. */
import { execFileSync } from 'node:child_process';
import { lstat, mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { encodeFile } from '../src/coders/encode-file.ts';
import { silent } from '../src/context.ts';
import { evaluateCoders } from '../src/evaluate/evaluate-coders.ts';
import { writeFolder, writeJson } from '../src/files.ts';
import { harvest } from '../src/harvest/harvest.ts';
import { encodeRequest } from '../src/jobs/kinds/encode.ts';
import { evaluateRequest } from '../src/jobs/kinds/evaluate.ts';
import { FileStore } from '../src/storage/file-store.ts';
import { useBackend } from '../src/tensor/backend.ts';
import { train } from '../src/train/train.ts';

let dir: string;
let fifo: string;
beforeAll(async () => {
  await useBackend('cpu');
  dir = await mkdtemp(join(tmpdir(), 'unfold-special-'));
  fifo = join(dir, 'fifo');
  execFileSync('mkfifo', [fifo]);
});

const model = new URL('../checkpoints/novels-4l', import.meta.url).pathname;
const text = { dataset: new URL('../datasets/novels-heldout', import.meta.url).pathname, max_tokens: 256 };
const coder = { coder: '/nowhere/coder', shards: '/nowhere/shards', input: '/nowhere/rows.safetensors' };

const writers: [string, (out: string) => Promise<unknown>][] = [
  ['a JSON file', (out) => writeJson(out, 1)],
  ['a folder', (out) => writeFolder(out, 'dead', async () => undefined)],
  ['a stored file', (out) => new FileStore(join(out, '..')).put('fifo', { bytes: Buffer.of(1) })],
  ['encode', (out) => encodeFile({ ...coder, out }, silent())],
  ['evaluate', (out) => evaluateCoders({ ...coder, out }, silent())],
  ['harvest', (out) => harvest({ model, text, hook_names: ['blocks.1.hook_resid_pre'], out }, silent())],
  ['enqueue encode', (out) => encodeRequest({ ...coder, out })],
  ['enqueue evaluate', (out) => evaluateRequest({ ...coder, out })],
];

test.each(writers)('%s: a FIFO', async (_name, write) => {
  const error = await write(fifo).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: 'UnfoldError', kind: 'not-writable' });
  expect((error as Error).message).toContain(fifo);
  expect((await lstat(fifo)).isFIFO()).toBe(true);
  expect(await readdir(dir)).toEqual(['fifo']);
});

test.each(writers.filter(([name]) => name !== 'a stored file'))('%s: /dev/full', async (_name, write) => {
  await expect(write('/dev/full')).rejects.toMatchObject({ name: 'UnfoldError', kind: 'not-writable' });
  expect((await lstat('/dev/full')).isCharacterDevice()).toBe(true);
});

test('training into a FIFO, a device and a place below /proc', async () => {
  const rows = join(await mkdtemp(join(tmpdir(), 'unfold-rows-')), 'shards');
  const few = { ...text, pool_tokens: 2000, context_size: 64 };
  await harvest({ model, text: few, hook_names: ['blocks.1.hook_resid_pre'], out: rows }, silent());
  for (const out of [fifo, '/dev/full', '/proc/x/y']) {
    const error = await train({ out, rows, settings: { d_sae: 16, k: 4 } }, silent()).catch(
      (e: unknown) => e,
    );
    expect(error, out).toMatchObject({ name: 'UnfoldError', kind: 'not-writable' });
  }
});
