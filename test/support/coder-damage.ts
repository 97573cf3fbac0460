/**
 * @file Coders of all layouts with one file damaged, and what becomes of it: a good read, a lesson, or anything else, which is
 * a fault. Shared by the tests and by `npm run bench -- mutations`.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { describeSource } from '../../src/coders/formats/describe.ts';
import { openCoders } from '../../src/coders/formats/registry.ts';
import { UnfoldError } from '../../src/errors.ts';
import { Random } from '../../src/random.ts';
import * as tf from '../../src/tensor/tf.ts';
import { describeMutation, mutate } from './mutate.ts';
import { damagedFields, textOf } from './mutate-fields.ts';

/** Folder among the fixtures, the file that is damaged; `isFile` if the coder is that file and not the folder. */
export interface DamagedCoder {
  folder: string;
  file: string;
  isFile?: boolean;
}

/** One or more of each layout, settings and weights. */
export const DAMAGED_CODERS: readonly DamagedCoder[] = [
  { folder: 'coders/saelens/topk', file: 'cfg.json' },
  { folder: 'coders/saelens/temporal', file: 'cfg.json' },
  { folder: 'coders/saelens/matching_pursuit', file: 'cfg.json' },
  { folder: 'coders/saelens/skip_transcoder', file: 'cfg.json' },
  { folder: 'coders/saelens/training_format/batchtopk', file: 'cfg.json' },
  { folder: 'formats/saelens_old/5.11.0_topk', file: 'cfg.json' },
  { folder: 'formats/saelens_old/2.1.3', file: 'cfg.json' },
  { folder: 'formats/sparsify/groupmax/h.2', file: 'cfg.json' },
  { folder: 'formats/circuit-tracer/plt', file: 'config.yaml' },
  { folder: 'formats/circuit-tracer/clt', file: 'config.yaml' },
  { folder: 'formats/dictionary_learning/topk', file: 'config.json' },
  { folder: 'coders/saelens/jumprelu', file: 'sae_weights.safetensors' },
  { folder: 'formats/sparsify/topk/h.2', file: 'sae.safetensors' },
  { folder: 'formats/circuit-tracer/plt', file: 'layer_1.safetensors' },
  { folder: 'formats/dictionary_learning/topk', file: 'ae.pt' },
  { folder: 'formats/openai', file: 'topk_v5.pt', isFile: true },
];

/** Damaged contents of a file of settings: every place in every way. Without end: bytes, seeded. */
export function* damagesOf(
  bytes: Buffer,
  file: string,
  seed: number,
): Generator<{ what: string; bytes: Buffer }> {
  if (/\.(json|yaml)$/.test(file)) {
    for (const damage of damagedFields(parse(bytes.toString())))
      yield { what: damage.what, bytes: Buffer.from(textOf(damage)) };
  }
  const random = Random.of(seed, 'damage', file);
  for (;;) {
    const { bytes: damaged, mutation } = mutate(bytes, random);
    yield { what: describeMutation(mutation), bytes: damaged };
  }
}

/** Opens a coder, describes it, loads it and runs it over rows. */
export async function runCoders(path: string): Promise<void> {
  const source = await openCoders(path);
  JSON.stringify(await describeSource(source));
  for (const entry of source.entries) {
    const coder = await entry.load();
    const rows = tf.ones(coder.takesContexts ? [1, 3, coder.inputWidth] : [2, coder.inputWidth]);
    tf.tidy(() => [coder.encode(rows), coder.forward(rows)]);
    rows.dispose();
    coder.dispose();
  }
}

/** What became of one damaged file. */
export type Outcome = 'good' | 'lesson' | { internal: string };

/** @param read reads what was damaged */
export async function outcomeOf(read: () => Promise<unknown>): Promise<Outcome> {
  try {
    await read();
    return 'good';
  } catch (error) {
    if (error instanceof UnfoldError) return 'lesson';
    const { stack } = error as Error;
    return { internal: stack ?? String(error) };
  }
}

/** Writes damaged contents over a file of `dir` and reads, one after the other, `step` apart. */
export async function* trials(
  { file, isFile }: DamagedCoder,
  dir: string,
  { count, step = 1, seed = 1 }: { count: number; step?: number; seed?: number },
): AsyncGenerator<{ what: string; outcome: Outcome }> {
  const path = join(dir, file);
  const original = await readFile(path);
  let [tried, index] = [0, 0];
  for (const { what, bytes } of damagesOf(original, file, seed)) {
    if (index++ % step !== 0) continue;
    if (tried++ === count) break;
    await writeFile(path, bytes);
    yield { what, outcome: await outcomeOf(() => runCoders(isFile ? path : dir)) };
  }
  await writeFile(path, original);
}
