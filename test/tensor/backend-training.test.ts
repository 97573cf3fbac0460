/** @file A short training on every backend: the flow's middle part, and the same coder whoever computes it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { type BackendName, closeBackend, useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import type { MetricsLine } from '../../src/train/metrics.ts';
import { train } from '../../src/train/train.ts';
import { SETTINGS } from '../train/settings-of-tests.ts';
import { syntheticSource } from '../train/support.ts';
import { testedBackends } from './support/tested-backends.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-backend-training-'));
});
afterAll(async () => {
  await closeBackend();
  await rm(scratch, { recursive: true });
});

/** Trains 40 steps on `backend` and returns the lines of its metrics. */
async function trained(
  backend: BackendName,
  name: keyof typeof SETTINGS,
  run: string,
): Promise<MetricsLine[]> {
  await useBackend(backend);
  const out = join(scratch, `${name}-${run}`);
  await train({ out, rows: syntheticSource(), settings: SETTINGS[name] }, silent());
  const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as MetricsLine);
}

const judges = new Map<string, Promise<MetricsLine[]>>();

function judgeOf(name: keyof typeof SETTINGS): Promise<MetricsLine[]> {
  const judge = judges.get(name) ?? trained('cpu', name, 'judge');
  judges.set(name, judge);
  return judge;
}

const backends = await testedBackends();

describe.each(['topk', 'standard'] as const)('training %s', (name) => {
  test.each(backends)('on %s loses as on cpu, and leaves no tensor', async (backend) => {
    const judge = await judgeOf(name);
    await useBackend(backend);
    const before = tf.memory().numTensors;
    const found = await trained(backend, name, backend);
    expect(tf.memory().numTensors).toBe(before);
    expect(found.at(-1)!.loss).toBeLessThan(found[0]!.loss);
    // Sums in another order differ by 1e-7 a step; near-ties of TopK and Adam's division make that up to percents.
    expect(Math.abs(found.at(-1)!.loss / judge.at(-1)!.loss - 1)).toBeLessThan(0.02);
  });
});
