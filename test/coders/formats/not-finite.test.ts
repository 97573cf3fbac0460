/** @file Weights that are NaN or infinite: named in every layout and by every way in, before anything is written. */
import { cp, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadCoder, loadCoderSet, saveCoder } from '../../../src/coders/coder.ts';
import { encodeFile } from '../../../src/coders/encode-file.ts';
import { exportCoders, importCoders } from '../../../src/coders/formats/convert.ts';
import { describeSource } from '../../../src/coders/formats/describe.ts';
import { openCoders } from '../../../src/coders/formats/registry.ts';
import { silent } from '../../../src/context.ts';
import { exists } from '../../../src/files.ts';
import { readSafetensors } from '../../../src/model/safetensors.ts';
import { writeSafetensors } from '../../../src/model/safetensors-write.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import * as tf from '../../../src/tensor/tf.ts';
import { fixture as coderFixture } from '../support.ts';
import { spoilSafetensors, spoilTorch } from './spoil.ts';
import { fixture, scratchFolder } from './support.ts';

const scratch = await scratchFolder();
beforeAll(() => useBackend('cpu'));
let copies = 0;

/** A copy of a coder, in which a file can be spoilt. */
async function copied(path: string): Promise<string> {
  const dir = join(scratch, `copy-${copies++}`, basename(path));
  await cp(path, dir, { recursive: true });
  return dir;
}

const lessonOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: Error & { kind?: string }) => `${error.kind}: ${error.message}`,
  );

const folders: [string, string][] = [
  [coderFixture('saelens/topk'), 'sae_weights.safetensors'],
  [coderFixture('saelens/jumprelu'), 'sae_weights.safetensors'],
  [fixture('saelens_old/5.11.0_gated'), 'sae_weights.safetensors'],
  [fixture('sparsify/topk/h.2'), 'sae.safetensors'],
];

describe.each(folders)('%s', (path, file) => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY])('each weight with %d is named', async (value) => {
    for (const tensor of (await readSafetensors(join(path, file))).keys()) {
      const dir = await copied(path);
      await spoilSafetensors(join(dir, file), value, tensor);
      const lesson = await lessonOf(loadCoder(dir));
      expect(lesson).toMatch(`not-finite: ${join(dir, file)}: tensor ${tensor}\n`);
      expect(lesson).toMatch(/1 of \d+ entries \(1 (NaN|infinite)\)/);
    }
  });
});

it('sets of circuit-tracer and files of torch are looked at, too', async () => {
  const clt = await copied(fixture('circuit-tracer/clt'));
  await spoilSafetensors(join(clt, 'W_dec_1.safetensors'), Number.NaN);
  expect(await lessonOf(loadCoder(clt))).toMatch(/not-finite: .*W_dec_1.safetensors: tensor W_dec_1\n/);
  const set = await copied(fixture('circuit-tracer/plt'));
  await spoilSafetensors(join(set, 'layer_2.safetensors'), Number.NaN, 'activation_function.threshold');
  expect(await lessonOf(loadCoderSet(set))).toMatch(/not-finite: .*layer_2.safetensors: tensor activation_f/);
  const pt = await copied(fixture('dictionary_learning/standard'));
  await spoilTorch(join(pt, 'ae.pt'), Number.NaN, '0');
  expect(await lessonOf(loadCoder(pt))).toMatch(/not-finite: .*ae.pt: tensor bias\n/);
});

it('import, export and encode write nothing of such a coder; info says it', async () => {
  const dir = await copied(coderFixture('saelens/jumprelu'));
  await spoilSafetensors(join(dir, 'sae_weights.safetensors'), Number.NaN, 'threshold');
  const input = join(scratch, 'rows.safetensors');
  const { d_in } = (await openCoders(dir)).entries[0]!.cfg;
  await writeSafetensors(input, { input: { shape: [2, d_in], data: new Float32Array(2 * d_in) } });
  const out = join(scratch, 'out', 'there');
  const ways = [
    () => importCoders({ source: dir, out }),
    () => exportCoders({ coders: [dir], format: 'saelens', out }),
    () => encodeFile({ coder: dir, input, out }, silent()),
  ];
  for (const way of ways) expect(await lessonOf(way())).toMatch(/tensor threshold\n/);
  expect(await readdir(dirname(out)).catch(() => [])).toEqual([]);
  const facts = await describeSource(await openCoders(dir));
  expect(facts.warnings).toEqual([expect.stringMatching(/^tensor threshold: 1 of \d+ entries \(1 NaN\)/)]);
});

it('rows that are not finite are named by encode', async () => {
  const dir = coderFixture('saelens/topk');
  const { d_in } = (await openCoders(dir)).entries[0]!.cfg;
  const input = join(scratch, 'spoilt-rows.safetensors');
  const data = new Float32Array(2 * d_in).fill(1);
  data[3] = Number.NEGATIVE_INFINITY;
  await writeSafetensors(input, { input: { shape: [2, d_in], data } });
  const out = join(scratch, 'never.safetensors');
  const lesson = await lessonOf(encodeFile({ coder: dir, input, out }, silent()));
  expect(lesson).toMatch(/not-finite: .*spoilt-rows.safetensors: tensor input\n[\s\S]*1 infinite/);
  expect(await exists(out)).toBe(false);
});

it('weights that 16 bits do not hold, or that overflow together, are a lesson and no fault of ours', async () => {
  const coder = await loadCoder(coderFixture('saelens/topk'));
  const large = await copied(coderFixture('saelens/topk'));
  const weights = { ...coder.weights, b_dec: tf.fill(coder.weights.b_dec!.shape, 70_000) };
  await saveCoder(
    new (coder.constructor as new (c: unknown, w: unknown) => typeof coder)(coder.cfg, weights),
    large,
  );
  const out = join(scratch, 'narrow');
  const narrow = await lessonOf(importCoders({ source: large, out, dtype: 'float16' }));
  expect(narrow).toMatch(/not-finite: .*tensor b_dec\n[\s\S]*below 65520[\s\S]*float32/);
  expect(await exists(out)).toBe(false);
  const weightsFile = join(large, 'sae_weights.safetensors');
  for (const tensor of ['W_enc', 'W_dec']) {
    const all = await readSafetensors(weightsFile);
    all.set(tensor, { ...all.get(tensor)!, data: (all.get(tensor)!.data as Float32Array).map(() => -1e30) });
    await writeSafetensors(weightsFile, all as never);
  }
  expect(await lessonOf(importCoders({ source: large, out }))).toMatch(
    /not-finite: .*[\s\S]*too large together/,
  );
  coder.dispose();
});
