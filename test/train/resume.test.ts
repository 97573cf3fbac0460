import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type StageContext, silent } from '../../src/context.ts';
import { sha256File } from '../../src/files.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { checkpointSteps } from '../../src/train/checkpoint.ts';
import type { MetricsLine } from '../../src/train/metrics.ts';
import { train } from '../../src/train/train.ts';
import { usableBackends } from '../coders/support.ts';
import { SETTINGS } from './settings-of-tests.ts';
import { syntheticSource } from './support.ts';

type Name = keyof typeof SETTINGS;

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-train-'));
});
afterAll(() => rm(scratch, { recursive: true }));

/** Trains in `dir`; aborts once `stopAfter` rows are reported. Returns true when it came to the end. */
async function run(dir: string, name: Name, stopAfter = Number.POSITIVE_INFINITY): Promise<boolean> {
  const controller = new AbortController();
  const bar = {
    update(done: number) {
      if (done >= stopAfter) controller.abort(new Error('stop'));
    },
    finish() {},
  };
  const context: StageContext = { ...silent(controller.signal), bar: () => bar };
  return train({ out: dir, rows: syntheticSource(), settings: SETTINGS[name] }, context).then(
    () => true,
    (error: Error) => {
      if (error.message !== 'stop') throw error;
      return false;
    },
  );
}

async function fingerprints(dir: string): Promise<string[]> {
  return Promise.all(
    ['sae_weights.safetensors', 'sparsity.safetensors', 'cfg.json'].map((file) =>
      sha256File(join(dir, 'final', file)),
    ),
  );
}

/** metrics.jsonl without the clock. */
async function metrics(dir: string): Promise<Omit<MetricsLine, 'tokens_per_second'>[]> {
  const lines = (await readFile(join(dir, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  return lines.map((line) => ({ ...(JSON.parse(line) as MetricsLine), tokens_per_second: 0 }));
}

/** Runs the child until it reports `rows` rows, then kills it with SIGKILL. */
async function killedChild(dir: string, name: Name, rows: number): Promise<void> {
  const script = fileURLToPath(new URL('./child.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script, dir, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk;
    if (Number(text.trimEnd().split('\n').at(-1)) >= rows) child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.on('close', resolve));
}

/** Runs the child, which kills itself when `files` files of what becomes `final/` have their names. What is seen then. */
async function killedInExport(dir: string, name: Name, files: number): Promise<string[]> {
  const script = fileURLToPath(new URL('./child.ts', import.meta.url));
  const args = ['--import', 'tsx', script, dir, name, String(files)];
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  const signal = await new Promise((resolve) => child.on('close', (_code, signal) => resolve(signal)));
  expect(signal).toBe('SIGKILL');
  return list(dir);
}

function list(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

describe.each(await usableBackends())('a stopped run on %s', (backend) => {
  beforeEach(async () => {
    await useBackend(backend);
  });

  it.each(['topk', 'standard'] as const)('%s: ends with the bytes of a run that was not', async (name) => {
    const straight = join(scratch, `${backend}-${name}-straight`);
    const stopped = join(scratch, `${backend}-${name}-stopped`);
    const before = tf.memory().numTensors;
    expect(await run(straight, name)).toBe(true);
    // In the middle of a metrics window, right after a checkpoint, and in the second epoch.
    for (const step of [1, 7, 12, 13, 29]) expect(await run(stopped, name, step * 64)).toBe(false);
    expect(await run(stopped, name)).toBe(true);
    expect(await fingerprints(stopped)).toEqual(await fingerprints(straight));
    expect(await metrics(stopped)).toEqual(await metrics(straight));
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('a run whose process is killed', () => {
  it.each([
    ['topk', 11],
    ['standard', 23],
  ] as const)('%s: ends with the same bytes after kill -9 at step %i', async (name, step) => {
    await useBackend('cpu');
    const straight = join(scratch, `kill-${name}-straight`);
    const killed = join(scratch, `kill-${name}`);
    await run(straight, name);
    await killedChild(killed, name, step * 64);
    expect((await checkpointSteps(killed))[0]).toBeGreaterThan(0);
    expect(await run(killed, name)).toBe(true);
    expect(await fingerprints(killed)).toEqual(await fingerprints(straight));
    expect(await metrics(killed)).toEqual(await metrics(straight));
  });
});

describe('a run whose process is killed while it exports', () => {
  it('has no final/ until it is whole, and ends with the same bytes', async () => {
    await useBackend('cpu');
    const straight = join(scratch, 'export-straight');
    await run(straight, 'topk');
    const killed = join(scratch, 'export-killed');
    // The last: all files have their names, the folder has not.
    for (const files of [0, 1, 2, 3]) {
      const left = await killedInExport(killed, 'topk', files);
      expect(left).not.toContain('final');
      expect(left).not.toContain('manifest.json');
    }
    expect(await run(killed, 'topk')).toBe(true);
    expect(await fingerprints(killed)).toEqual(await fingerprints(straight));
    expect(await metrics(killed)).toEqual(await metrics(straight));
    expect(list(killed).filter((entry) => entry.endsWith('.part'))).toEqual([]);
  });
});

describe('a run directory', () => {
  beforeEach(async () => {
    await useBackend('cpu');
  });

  it('keeps the last two checkpoints, passes over a damaged one, and a finished run does nothing', async () => {
    const dir = join(scratch, 'damaged');
    await run(dir, 'topk', 20 * 64);
    const steps = await checkpointSteps(dir);
    expect(steps).toHaveLength(2);
    await writeFile(join(dir, 'checkpoints', `step-${steps[0]}`, 'state.safetensors'), 'half of it');
    expect(await run(dir, 'topk')).toBe(true);
    const straight = join(scratch, 'undamaged');
    await run(straight, 'topk');
    expect(await fingerprints(dir)).toEqual(await fingerprints(straight));
    const again = await train({ out: dir, rows: syntheticSource(), settings: SETTINGS.topk }, silent());
    expect(again.skipped).toBe(true);
  });

  it('refuses another run, naming what differs', async () => {
    const dir = join(scratch, 'other');
    await run(dir, 'topk', 64);
    const other = train(
      { out: dir, rows: syntheticSource(), settings: { ...SETTINGS.topk, lr: 1 } },
      silent(),
    );
    await expect(other).rejects.toThrow(/lr 0.005[\s\S]*lr 1/);
  });

  it('refuses a second process', async () => {
    const dir = join(scratch, 'locked');
    const options = { out: dir, rows: syntheticSource(), settings: SETTINGS.topk };
    const both = await Promise.allSettled([train(options, silent()), train(options, silent())]);
    const kinds = both.map((one) =>
      one.status === 'rejected' ? (one.reason as { kind: string }).kind : 'done',
    );
    expect(kinds.sort()).toEqual(['done', 'locked']);
  });
});
