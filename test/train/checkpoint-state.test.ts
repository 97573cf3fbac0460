/** @file Checkpoints vouch for themselves: a changed digit or a missing sum is named, and metrics are put back, never invented. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { type StageContext, silent } from '../../src/context.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { checkpointSteps } from '../../src/train/checkpoint.ts';
import { train } from '../../src/train/train.ts';
import { SETTINGS } from './settings-of-tests.ts';
import { syntheticSource } from './support.ts';

let dir: string;
beforeEach(async () => {
  await useBackend('cpu');
  dir = await mkdtemp(join(tmpdir(), 'unfold-state-'));
  await again();
  // A run that was killed before it was finished.
  await rm(join(dir, 'manifest.json'));
}, 120_000);

/** Trains, or goes on; what was warned about. */
async function again(): Promise<string[]> {
  const said: string[] = [];
  const context: StageContext = { ...silent(), warn: (words) => said.push(words) };
  await train({ out: dir, rows: syntheticSource(), settings: SETTINGS.topk }, context);
  return said;
}

/** Lines after the checkpoint are measured again. */
const withoutSpeed = (lines: Buffer) => String(lines).replace(/"tokens_per_second":[\d.e+]+/g, '');

const newest = async () => join(dir, 'checkpoints', `step-${(await checkpointSteps(dir))[0]}`, 'state.json');
const weights = () => readFile(join(dir, 'final', 'sae_weights.safetensors'));

it('a state with one other digit, or without one of its sums, is passed over by name; the bytes are the same', async () => {
  const before = await weights();
  const path = await newest();
  const text = await readFile(path, 'utf8');
  const without = JSON.parse(text) as { sums: { squares?: number[] }; format: string };
  delete without.sums.squares;
  const old = { ...without, format: 'unfold-train-state-2', seal: undefined };
  for (const damaged of [
    text.replace(/"position": \d/, '"position": 9'),
    JSON.stringify(without),
    JSON.stringify(old),
  ]) {
    await writeFile(path, damaged);
    expect(await again()).toEqual([expect.stringContaining(`${path} is damaged`)]);
    expect((await weights()).equals(before)).toBe(true);
    await rm(join(dir, 'manifest.json'));
  }
});

it('a state of an earlier version is used, with a word', async () => {
  const path = await newest();
  const { seal: _seal, files, ...rest } = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
  const hashes = (files as { file: string; sha256: string }[]).map(({ file, sha256 }) => [file, sha256]);
  await writeFile(
    path,
    JSON.stringify({ ...rest, format: 'unfold-train-state-2', sha256: Object.fromEntries(hashes) }),
  );
  expect(await again()).toEqual([expect.stringContaining('earlier version')]);
});

it('metrics that are gone, cut or full of NUL are put back, with a word', async () => {
  const path = join(dir, 'metrics.jsonl');
  const before = await readFile(path);
  for (const bytes of [undefined, before.subarray(0, 50), Buffer.alloc(before.length)]) {
    if (bytes) await writeFile(path, bytes);
    else await rm(path);
    expect(await again()).toEqual([expect.stringContaining(path)]);
    expect(withoutSpeed(await readFile(path))).toBe(withoutSpeed(before));
    await rm(join(dir, 'manifest.json'));
  }
});
