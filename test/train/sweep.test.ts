import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { silent } from '../../src/context.ts';
import { readJson, sha256File } from '../../src/files.ts';
import type { BlockSource } from '../../src/shards/block-source.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { checkpointSteps } from '../../src/train/checkpoint.ts';
import { type SweepManifest, trainSweep } from '../../src/train/sweep.ts';
import { train } from '../../src/train/train.ts';
import { usableBackends } from '../coders/support.ts';
import { SWEEP, SWEEP_HOOKS } from './settings-of-tests.ts';
import { syntheticSource } from './support.ts';
import { registerToys } from './toy-architectures.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-sweep-'));
  registerToys();
});
afterAll(() => rm(scratch, { recursive: true }));

const rows = (): BlockSource => syntheticSource({ hooks: SWEEP_HOOKS });

/** Sweeps in `out`; stops once `stopAfter` rows are reported. True when it came to the end. */
async function sweepTo(out: string, stopAfter = Number.POSITIVE_INFINITY): Promise<boolean> {
  const controller = new AbortController();
  const update = (done: number) => {
    if (done >= stopAfter) controller.abort(new Error('stop'));
  };
  const context = { ...silent(controller.signal), bar: () => ({ update, finish() {} }) };
  return trainSweep({ out, rows: rows(), sweep: SWEEP }, context).then(
    () => true,
    (error: Error) => {
      if (error.message !== 'stop') throw error;
      return false;
    },
  );
}

/** A line is as long as its speed has digits, so size and hash of metrics.jsonl are the clock's, too, and what seals them. */
const OF_THE_CLOCK =
  /"tokens_per_second":\s*\d+|"metricsBytes":\s*\d+|"seal":\s*"\w+"|"file":\s*"metrics\.jsonl",\s*"bytes":\s*\d+,\s*"sha256":\s*"\w+"/g;

/** Every file of a run directory: its hash, or its content without the clock. */
async function contentsOf(dir: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const isText =
      entry.name === 'metrics.jsonl' || entry.name === 'manifest.json' || entry.name === 'state.json';
    const text = isText ? await readFile(path, 'utf8') : '';
    found[relative(dir, path)] = isText ? text.replaceAll(OF_THE_CLOCK, '') : await sha256File(path);
  }
  return found;
}

/** The coder's settings as a separate run would be given them. */
function separate(name: string): Record<string, unknown> {
  const { coders, ...shared } = SWEEP;
  const own = coders[name as keyof typeof coders] as Record<string, unknown>;
  const { k: _foreign, ...rest } = shared;
  return { ...(own.architecture === 'standard' ? rest : shared), ...own };
}

describe.each(await usableBackends())('a sweep on %s', (backend) => {
  beforeEach(async () => {
    await useBackend(backend);
  });

  it('leaves what separate runs leave, to the byte', async () => {
    const out = join(scratch, `${backend}-sweep`);
    const before = tf.memory().numTensors;
    const result = await trainSweep({ out, rows: rows(), sweep: SWEEP }, silent());
    expect(Object.keys(result.coders)).toEqual(['small', 'sparse', 'relu', 'mlp']);
    for (const name of Object.keys(SWEEP.coders)) {
      const alone = join(scratch, `${backend}-alone`, name);
      await train({ out: alone, rows: rows(), settings: separate(name) }, silent());
      expect(await contentsOf(join(out, name)), name).toEqual(await contentsOf(alone));
    }
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('a stopped sweep', () => {
  beforeEach(async () => {
    await useBackend('cpu');
  });

  const finals = async (out: string) =>
    Promise.all(Object.keys(SWEEP.coders).map((name) => contentsOf(join(out, name, 'final'))));

  it('goes on, each coder from its own checkpoint, and ends with the same bytes', async () => {
    const straight = join(scratch, 'straight');
    const stopped = join(scratch, 'stopped');
    expect(await sweepTo(straight)).toBe(true);
    expect(await sweepTo(stopped, 17 * 64)).toBe(false);
    // Coders of three ages: one at its last checkpoint, one at an earlier one, one that never began.
    const [newest] = await checkpointSteps(join(stopped, 'sparse'));
    await rm(join(stopped, 'sparse', 'checkpoints', `step-${newest}`), { recursive: true });
    await rm(join(stopped, 'relu'), { recursive: true });
    expect(await sweepTo(stopped, 5 * 64)).toBe(false);
    expect(await sweepTo(stopped)).toBe(true);
    expect(await finals(stopped)).toEqual(await finals(straight));
  });

  it('survives kill -9', async () => {
    const killed = join(scratch, 'killed');
    const script = fileURLToPath(new URL('./sweep-child.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', script, killed], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk;
      if (Number(text.trimEnd().split('\n').at(-1)) >= 11 * 64) child.kill('SIGKILL');
    });
    await new Promise((resolve) => child.on('close', resolve));
    expect((await checkpointSteps(join(killed, 'small')))[0]).toBeGreaterThan(0);
    expect(await sweepTo(killed)).toBe(true);
    expect(await finals(killed)).toEqual(await finals(join(scratch, 'straight')));
  });

  it('skips what is finished, and trains a coder that is added alone', async () => {
    const out = join(scratch, 'straight');
    const coders = { ...SWEEP.coders, added: { k: 5 } };
    const steps: number[] = [];
    const bar = { update: (done: number) => void steps.push(done), finish() {} };
    const context = { ...silent(), bar: () => bar };
    const result = await trainSweep({ out, rows: rows(), sweep: { ...SWEEP, coders } }, context);
    expect(Object.values(result.coders).map(({ skipped }) => skipped)).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
    expect(steps).toHaveLength(24);
    const alone = join(scratch, 'added-alone');
    await train({ out: alone, rows: rows(), settings: { ...separate('small'), k: 5 } }, silent());
    expect(await contentsOf(join(out, 'added'))).toEqual(await contentsOf(alone));
  });
});

describe('a coder that diverges', () => {
  it('stops with its last good state, named; the others go on', async () => {
    await useBackend('cpu');
    const out = join(scratch, 'diverging');
    const warnings: string[] = [];
    const context = { ...silent(), warn: (message: string) => void warnings.push(message) };
    const wild = { lr: 1e30, max_grad_norm: null, lr_warm_up_steps: 0, checkpoint_every_steps: null };
    const coders = { ...SWEEP.coders, wild };
    const result = await trainSweep({ out, rows: rows(), sweep: { ...SWEEP, coders } }, context);
    expect(Object.keys(result.coders)).toEqual(Object.keys(SWEEP.coders));
    expect(result.failures.wild!.message).toMatch(
      /coder wild, training step \d+[\s\S]*(mse_loss|auxiliary\w+) = /,
    );
    expect(warnings.join()).toContain('wild stopped');
    const [newest] = await checkpointSteps(join(out, 'wild'));
    expect(newest).toBeGreaterThan(0);
    const { coders: entries } = (await readJson(join(out, 'sweep.json'))) as SweepManifest;
    expect(entries.wild).toMatchObject({
      status: 'diverged',
      failure: expect.stringContaining('not applied'),
    });
    expect(entries.small).toMatchObject({ status: 'finished', architecture: 'topk' });
    const again = await trainSweep({ out, rows: rows(), sweep: { ...SWEEP, coders } }, silent());
    expect(again.failures.wild!.message).toBe(result.failures.wild!.message);
  });

  it('is stopped by rows that are no numbers, if it reads them', async () => {
    await useBackend('cpu');
    const spoilt = syntheticSource({
      hooks: SWEEP_HOOKS,
      spoil: (block, index) => {
        if (index === 9) block.activations.get(SWEEP_HOOKS[1]!.name)?.fill(Number.NaN, 0, 1);
      },
    });
    const sweep = { ...SWEEP, norm_estimate_rows: 32 };
    const result = await trainSweep({ out: join(scratch, 'spoilt'), rows: spoilt, sweep }, silent());
    expect(Object.keys(result.failures)).toEqual(['mlp']);
    expect(result.failures.mlp!.message).toMatch(/context 9 at position 0/);
  });
});

describe('a sweep is refused before anything is trained', () => {
  it.each([
    [
      'different rows',
      { a: { training_tokens: 1280 }, b: {} },
      /coders a and b: training_tokens[\s\S]*1280 and 1536/,
    ],
    [
      'different order',
      { a: { seed: 1 }, b: { seed: 2 } },
      /coders a and b: data_seed[\s\S]*data_seed at the top/,
    ],
    [
      'a hook that was not harvested',
      { a: {}, b: { hook_name: 'blocks.9' } },
      /coder b: hook_name[\s\S]*blocks\.9/,
    ],
    ['an unknown setting', { a: {}, b: { kk: 1 } }, /coder b: kk/],
    ['an impossible setting', { a: {}, b: { k: 1000 } }, /coder b: k/],
    ['no coders', {}, /sweep[\s\S]*coders: a mapping/],
  ])('%s', async (_what, coders, message) => {
    const out = join(scratch, 'refused');
    const { coders: _coders, ...shared } = SWEEP;
    const run = trainSweep({ out, rows: rows(), sweep: { ...shared, coders } }, silent());
    await expect(run).rejects.toThrow(message);
    await expect(readdir(out)).rejects.toThrow();
  });

  it('different seeds with one data_seed are welcome', async () => {
    await useBackend('cpu');
    const { coders: _coders, ...shared } = SWEEP;
    const sweep = {
      ...shared,
      training_tokens: 128,
      lr_warm_up_steps: 0,
      lr_decay_steps: 0,
      data_seed: 7,
      grid: { seed: [1, 2] },
    };
    const result = await trainSweep({ out: join(scratch, 'seeds'), rows: rows(), sweep }, silent());
    const [one, two] = [result.coders.seed1!, result.coders.seed2!];
    expect(one.weightsHash).not.toBe(two.weightsHash);
  });
});
