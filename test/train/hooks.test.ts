import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silent } from '../../src/context.ts';
import { readJson } from '../../src/files.ts';
import { shuffledRows } from '../../src/shards/shuffle.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { chooseHooks, withHooks } from '../../src/train/hooks.ts';
import { dataStatistics, measureRows } from '../../src/train/measure.ts';
import { addStep, emptySums, summarise } from '../../src/train/metrics.ts';
import { BatchPreparer } from '../../src/train/rows.ts';
import { train } from '../../src/train/train.ts';
import { SETTINGS } from './settings-of-tests.ts';
import { HOOK, syntheticSource } from './support.ts';
import { registerToys } from './toy-architectures.ts';

const A = { name: HOOK, width: 8 };
const B = { name: 'blocks.0.hook_mlp_out', width: 8 };
const C = { name: 'blocks.1.hook_mlp_out', width: 4 };
const source = (names = [A, B, C]) => syntheticSource({ hooks: names });
const options = { rows: 256, centre: 'mean', normalization: 'none' } as const;

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-hooks-'));
  await useBackend('cpu');
  registerToys();
});
afterAll(() => rm(scratch, { recursive: true }));

describe('the hooks of a run', () => {
  it('what a transcoder predicts is suggested from the layer that it reads', () => {
    const names = ['blocks.0.hook_mlp_out', 'blocks.1.ln2.hook_normalized', 'blocks.1.hook_mlp_out'];
    const hooks = names.map((name) => ({ name, width: 8 }));
    const settings = { hook_name: 'blocks.1.ln2.hook_normalized' };
    const advice = /--hook-name-out blocks\.1\.hook_mlp_out/;
    expect(() => chooseHooks({ hooks }, 'in-out', settings, 't')).toThrow(advice);
    expect(() => chooseHooks({ hooks: hooks.slice(1, 2) }, 'in-out', settings, 't')).toThrow(advice);
    const wrong = { ...settings, hook_name_out: 'blocks.1.mlp_out' };
    expect(() => chooseHooks({ hooks }, 'in-out', wrong, 't')).toThrow(/perhaps blocks\.1\.hook_mlp_out/);
  });

  it('are those its architecture takes, in the order of the settings', () => {
    expect(chooseHooks({ hooks: [A] }, 'one', {}, 'topk')).toEqual({ in: [A], out: [] });
    const pair = { hook_name: C.name, hook_name_out: A.name };
    expect(chooseHooks({ hooks: [A, B, C] }, 'in-out', pair, 't')).toEqual({ in: [C], out: [A] });
    const lists = { hook_names: [B.name, A.name], hook_names_out: [A.name, C.name] };
    expect(chooseHooks({ hooks: [A, B, C] }, 'several-in-out', lists, 'clt')).toEqual({
      in: [B, A],
      out: [A, C],
    });
  });

  it.each([
    ['one', {}, /topk: hook_name[\s\S]*no choice among several/],
    ['one', { hook_name: 'blocks.9' }, /topk: hook_name[\s\S]*blocks\.9[\s\S]*harvest again/],
    [
      'one',
      { hook_name: A.name, hook_name_out: B.name },
      /topk: hook_name_out[\s\S]*leave hook_name_out out/,
    ],
    ['in-out', { hook_name: A.name }, /topk: hook_name_out/],
    ['several', { hook_name: A.name }, /topk: hook_name[\s\S]*hook_names/],
    ['several-in-out', { hook_names: [A.name, B.name], hook_names_out: [C.name] }, /2 and 1/],
  ] as const)('%s with %j is refused with a lesson', (use, settings, message) => {
    expect(() => chooseHooks({ hooks: [A, B, C] }, use, settings, 'topk')).toThrow(message);
  });

  it('are the only ones that are read', async () => {
    const narrowed = withHooks(source(), [C.name]);
    const block = await narrowed.readBlock(3);
    expect([...block.activations.keys()]).toEqual([C.name]);
    expect(block.activations.get(C.name)).toEqual((await source().readBlock(3)).activations.get(C.name));
  });
});

describe('rows of several hooks', () => {
  it('stand side by side, each at sqrt(width) over its own mean norm, beside others as alone', async () => {
    const stream = shuffledRows(source(), { seed: 1 });
    const measures = await measureRows(stream, [A.name, C.name], options);
    const alone = await measureRows(shuffledRows(source([C]), { seed: 1 }), [C.name], options);
    expect(measures.get(C.name)).toEqual(alone.get(C.name));

    const hooks = { in: [A, C], out: [C] };
    const { scales, centre } = dataStatistics(hooks, measures, true);
    const batch = await stream.read(0, 64);
    const { x, y, target } = new BatchPreparer(64).prepare(batch, hooks, { scales }, 1);
    expect([x.shape, y!.shape]).toEqual([
      [64, 12],
      [64, 4],
    ]);
    const right = tf.slice(x, [0, 8], [64, 4]);
    expect(right.arraySync()).toEqual(y!.arraySync());
    const plain = tf.tensor2d(batch.activations.get(C.name)!, [64, 4]);
    const off = tf.max(tf.abs(tf.sub(right, tf.mul(plain, scales.in[1]!))));
    // The trainer multiplies in float64 and rounds once; tfjs rounds the factor first.
    expect(off.dataSync()[0]).toBeLessThan(1e-6);
    expect(target.squares[0]).toBeCloseTo(tf.sum(tf.square(y!)).dataSync()[0]!, 3);
    expect(centre.y[0]).toBeCloseTo(alone.get(C.name)!.mean[0]! * scales.out[0]!, 5);
  });

  it('that two coders share are uploaded once, and freed together', async () => {
    const batch = await shuffledRows(source(), { seed: 1 }).read(0, 32);
    const preparer = new BatchPreparer(32);
    const before = tf.memory().numTensors;
    const first = preparer.prepare(batch, { in: [A], out: [B] }, { scales: { in: [0.5], out: [2] } }, 1);
    const second = preparer.prepare(batch, { in: [A], out: [] }, { scales: { in: [0.5], out: [] } }, 1);
    expect(second.x).toBe(first.x);
    expect(tf.memory().numTensors).toBe(before + 2);
    preparer.release();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('explained variance of several targets', () => {
  it('is pooled, and told for each', () => {
    const targets = [
      { name: 'a', width: 1 },
      { name: 'b', width: 1 },
    ];
    const sums = emptySums(targets);
    // Rows (0, 0) and (2, 4): variances 2 and 8. The coder misses the first by 1, the second by 2.
    const result = { losses: {}, loss: 0, gradNorm: 0, fired: [0], applied: true };
    addStep(
      sums,
      2,
      { ...result, squaredError: 3, squaredErrors: [1, 2] },
      {
        sum: Float64Array.from([2, 4]),
        squares: [4, 16],
      },
    );
    const line = summarise(sums, targets);
    expect(line.explained_variance).toBeCloseTo(0.7, 12);
    expect(line['explained_variance/a']).toBeCloseTo(0.5, 12);
    expect(line['explained_variance/b']).toBeCloseTo(0.75, 12);
  });
});

describe('a run over several hooks', () => {
  const toy = { ...SETTINGS.topk, k: 4, lr_decay_steps: 0, training_tokens: 64 * 60 };

  it('predicts another activation: widths, origin of both, folded for plain rows', async () => {
    const out = join(scratch, 'in-out');
    const settings = { ...toy, architecture: 'toy_in_out', hook_name: A.name, hook_name_out: C.name };
    const { metrics } = await train({ out, rows: source(), settings }, silent());
    expect(metrics.explained_variance).toBeGreaterThan(0.2);
    const cfg = (await readJson(join(out, 'final', 'cfg.json'))) as Record<string, unknown>;
    expect(cfg).toMatchObject({
      d_in: 8,
      d_out: 4,
      apply_b_dec_to_input: false,
      normalize_activations: 'none',
    });
    expect(cfg.metadata).toMatchObject({ hook_name: A.name, hook_name_out: C.name });
    expect(await readFile(join(out, 'metrics.jsonl'), 'utf8')).not.toContain('NaN');
  });

  it('ends with the same bytes after a stop', async () => {
    const settings = { ...toy, architecture: 'toy_several', hook_names: [A.name, B.name] };
    const straight = await train({ out: join(scratch, 'straight'), rows: source(), settings }, silent());
    const out = join(scratch, 'stopped');
    const controller = new AbortController();
    const bar = {
      update: (done: number) => void (done >= 64 * 20 && controller.abort(new Error('stop'))),
      finish() {},
    };
    const context = { ...silent(controller.signal), bar: () => bar };
    await expect(train({ out, rows: source(), settings }, context)).rejects.toThrow('stop');
    const resumed = await train({ out, rows: source(), settings }, silent());
    expect(resumed.weightsHash).toBe(straight.weightsHash);
  });

  it('refuses to subtract b_dec from an input that it is no centre of', async () => {
    const settings = {
      ...toy,
      architecture: 'toy_in_out',
      hook_name: A.name,
      hook_name_out: B.name,
      apply_b_dec_to_input: true,
    };
    const run = train({ out: join(scratch, 'refused'), rows: source(), settings }, silent());
    await expect(run).rejects.toThrow(/apply_b_dec_to_input/);
  });
});
