/**
 * @file SAELens's directory layout, version 6: `cfg.json`, `sae_weights.safetensors` and, beside a coder that was trained,
 * `sparsity.safetensors`. Read and written; `SAE.load_from_disk(dir)` opens what this writes. Checkpoints of training
 * classes are read as the coder they hold. Layouts before version 6 are recognised and refused, never guessed.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { readJson, writeJson } from '../../files.ts';
import type { Dtype } from '../../model/dtypes.ts';
import { readFinite } from '../../model/finite.ts';
import { openSafetensors, type TensorSource } from '../../model/safetensors.ts';
import { writeSafetensors } from '../../model/safetensors-write.ts';
import * as tf from '../../tensor/tf.ts';
import type { Architecture, Dimension } from '../architecture.ts';
import type { Coder, Weights } from '../base.ts';
import { type CoderConfig, outputWidth } from '../config.ts';
import { checkedConfig } from './checked-config.ts';
import { heedKeys } from './keys.ts';
import { checkRecorded } from './recorded.ts';
import { forPlainRows, SCALER_FILE, standIn } from './saelens-checkpoint.ts';
import { saelensKeys, writesElsewhere } from './saelens-keys.ts';

export { SCALER_FILE };

export const CFG_FILE = 'cfg.json';
export const WEIGHTS_FILE = 'sae_weights.safetensors';
export const SPARSITY_FILE = 'sparsity.safetensors';

/** The version whose layout and meanings these are; SAELens reads it to tell layouts apart. */
export const SAE_LENS_VERSION = '6.54.12';

/** SAELens adds it before taking the logarithm of a firing rate. */
const RATE_EPS = 1e-10;

const storage: Record<string, Dtype> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };
const storageOf = (dtype: string): Dtype => (Object.hasOwn(storage, dtype) ? storage[dtype]! : 'F32');

/**
 * Opens a SAELens 6 directory. Weights are computed with in float32 whatever they are stored in. A training checkpoint
 * whose rows were scaled (`activation_scaler.json`) comes back folded, so that it takes plain activations.
 * The coder of a run or checkpoint of ours is held against the hashes that were written with it, every byte.
 * @throws UnfoldError `missing-file`, `damaged`, `bad-coder`, `unknown-architecture`, `bad-safetensors`; the message names the file.
 */
export async function readSaeLens(dir: string): Promise<Coder> {
  await checkRecorded(dir);
  const cfgPath = join(dir, CFG_FILE);
  const { cfg, architecture } = parseConfig(
    await readJson(cfgPath, `give a folder with ${CFG_FILE} and ${WEIGHTS_FILE}`),
    cfgPath,
  );
  const weights = await readWeights(dir, cfg, architecture);
  return forPlainRows(architecture.create(cfg, weights), dir);
}

/** Checks the content of a cfg.json; `warnings` name keys that nobody knows. `where` is its path. */
export function parseConfig(
  json: unknown,
  where: string,
): { cfg: CoderConfig; architecture: Architecture; warnings: string[] } {
  const fields = z.record(z.string(), z.unknown()).safeParse(json).data ?? {};
  refuseOldLayout(fields, where);
  const { d_out: width, ...others } = fields;
  const { cfg, architecture } = checkedConfig(width === null ? others : fields, where);
  const warnings = heedKeys(fields, saelensKeys(architecture, fields), where);
  const { d_out, ...plain } = cfg;
  // SAELens has no such key but in transcoders; with it rows would not be scaled back.
  return { cfg: writesElsewhere(architecture.name) ? { ...plain, d_out } : plain, architecture, warnings };
}

/** True for the flat cfg.json of before version 6, which has no metadata but what is in it later. */
export function isOldLayout(fields: Readonly<Record<string, unknown>>): boolean {
  return fields.metadata === undefined && OLD_KEYS.some((key) => key in fields);
}

const OLD_KEYS = [
  'activation_fn_str',
  'activation_fn',
  'hook_point',
  'hook_name',
  'finetuning_scaling_factor',
  'sae_lens_version',
  'sae_lens_training_version',
];

/** Some coders of before version 6 compute otherwise: `saelens-old.ts` reads them. */
function refuseOldLayout(fields: Record<string, unknown>, where: string): void {
  const metadata = fields.metadata as Record<string, unknown> | undefined;
  const version = String(metadata?.sae_lens_version ?? fields.sae_lens_version ?? '');
  if (!isOldLayout(fields) && !/^[0-5]\./.test(version)) return;
  throw new UnfoldError('old-layout', {
    where,
    expected: 'a cfg.json of SAELens 6 or later (with metadata)',
    found: `a layout of before version 6${version ? ` (sae_lens_version ${version})` : ''}`,
    todo: 'unfold import brings it into the new layout',
  });
}

/** Tensors of the file as `info` may show them, before any is read. @throws UnfoldError `bad-coder` for shapes that differ */
export function checkShapes(file: TensorSource, cfg: CoderConfig, architecture: Architecture): void {
  for (const [name, shape] of Object.entries(expectedShapes(cfg, architecture)))
    if (file.info(name)) checkShape(file, name, shape);
}

async function readWeights(dir: string, cfg: CoderConfig, architecture: Architecture): Promise<Weights> {
  const file = await openSafetensors(join(dir, WEIGHTS_FILE));
  const weights: Record<string, tf.Tensor> = {};
  try {
    for (const [name, shape] of Object.entries(expectedShapes(cfg, architecture))) {
      const absent = file.info(name) ? undefined : await standIn(file, name, { dir, shape: shape.shape });
      weights[name] = absent ?? (await readWeight(file, name, shape));
    }
    return weights;
  } catch (error) {
    tf.dispose(weights);
    throw error;
  } finally {
    await file.close();
  }
}

/** Tensors of the weight file, by name. */
function expectedShapes(cfg: CoderConfig, { shapes, tensors }: Architecture): Record<string, Expected> {
  const named = tensors
    ? Object.entries(tensors(cfg)).map(([name, shape]) => [name, { shape }])
    : Object.entries(shapes).map(([name, dimensions]) => [
        name,
        { shape: shapeOf(dimensions, cfg), dimensions },
      ]);
  return Object.fromEntries(named);
}

type Expected = { shape: readonly number[]; dimensions?: readonly Dimension[] };

function checkShape(file: TensorSource, name: string, { shape: expected, dimensions }: Expected): void {
  const info = file.info(name);
  if (info?.shape.join() === expected.join()) return;
  throw new UnfoldError('bad-coder', {
    where: `${file.path}: tensor ${name}`,
    expected: `shape [${expected.join(', ')}] (${dimensions ? `${dimensions.join(', ')} of` : 'from'} ${CFG_FILE})`,
    found: info ? `[${info.shape.join(', ')}]` : `no such tensor; there are ${file.names().join(', ')}`,
    todo: `check that ${CFG_FILE} and ${WEIGHTS_FILE} belong together, and that the architecture is right`,
  });
}

async function readWeight(
  file: TensorSource,
  name: string,
  { shape: expected, dimensions }: Expected,
): Promise<tf.Tensor> {
  checkShape(file, name, { shape: expected, ...(dimensions && { dimensions }) });
  const tensor = tf.tensor(await readFinite(file, name), [...expected]);
  return name === 'W_enc' ? transposedOnce(tensor) : tensor;
}

function transposedOnce(tensor: tf.Tensor): tf.Tensor {
  const transposed = tf.transpose(tensor);
  tensor.dispose();
  return transposed;
}

function shapeOf(dimensions: readonly Dimension[], cfg: CoderConfig): number[] {
  return dimensions.map((dimension) => (dimension === 'd_out' ? outputWidth(cfg) : cfg[dimension]));
}

/** What may be said about a coder beside its weights. */
export interface SaveOptions {
  /** [d_sae] share of rows in which each latent fired: written as SAELens's log10 sparsity. */
  firingRate?: ArrayLike<number>;
  /** Storage type of the weights; default: the coder's. */
  dtype?: string;
  /** Added to the metadata of cfg.json: where the coder came from. */
  metadata?: Readonly<Record<string, unknown>>;
}

/**
 * Writes `coder` to `dir` in SAELens's layout, weights in the dtype of `coder.cfg`. Each file appears whole or not at
 * all, cfg.json last.
 * @throws UnfoldError `disk-full`
 */
export async function writeSaeLens(
  coder: Coder,
  dir: string,
  { firingRate, dtype = coder.cfg.dtype, metadata }: SaveOptions = {},
): Promise<void> {
  await writeWeights(join(dir, WEIGHTS_FILE), coder.weights, storageOf(dtype));
  if (firingRate) {
    const sparsity = Float32Array.from(firingRate, (rate) => Math.log10(rate + RATE_EPS));
    await writeSafetensors(join(dir, SPARSITY_FILE), {
      sparsity: { shape: [sparsity.length], data: sparsity },
    });
  }
  const cfg = { ...coder.cfg, dtype, metadata: { ...coder.cfg.metadata, ...metadata } };
  await writeJson(join(dir, CFG_FILE), fileConfig(cfg));
}

/** Writes weights (feature-major W_enc) with W_enc as SAELens has it, [d_in, d_sae]. */
export async function writeWeights(path: string, weights: Weights, dtype: Dtype = 'F32'): Promise<void> {
  const tensors = new Map<string, { shape: number[]; data: Float32Array; dtype: Dtype }>();
  for (const [name, tensor] of Object.entries(weights)) {
    const stored = name === 'W_enc' ? tf.transpose(tensor) : tensor;
    tensors.set(name, { shape: stored.shape, data: (await stored.data()) as Float32Array, dtype });
    if (stored !== tensor) stored.dispose();
  }
  await writeSafetensors(path, tensors);
}

/** cfg.json as SAELens writes it: `device` is required there, and the version says which layout this is. */
export function fileConfig(cfg: CoderConfig): Record<string, unknown> {
  const dtype = Object.hasOwn(storage, cfg.dtype) ? cfg.dtype : 'float32';
  return {
    ...cfg,
    dtype,
    device: 'cpu',
    metadata: { sae_lens_version: SAE_LENS_VERSION, sae_lens_training_version: null, ...cfg.metadata },
  };
}
