/**
 * @file From the tensors of a file to a coder: a plan says where each weight stands and how it lies, and everything the
 * file holds must be accounted for. Weights come out under SAELens's names, W_enc feature-major (see `Weights`).
 */
import { UnfoldError } from '../../errors.ts';
import type { Dtype } from '../../model/dtypes.ts';
import { finite, readFinite } from '../../model/finite.ts';
import type { TensorSource } from '../../model/safetensors.ts';
import * as tf from '../../tensor/tf.ts';
import type { Dimension } from '../architecture.ts';
import type { Coder } from '../base.ts';
import { type CoderConfig, outputWidth } from '../config.ts';
import { architectureNamed } from '../registry.ts';
import { checkedConfig } from './checked-config.ts';
import type { CoderEntry, StoredTensor } from './format.ts';

/** Where a weight comes from. */
export type WeightPlan =
  | {
      /** Name in the file. */
      from: string;
      /** Shape in the file. */
      dims: readonly Dimension[];
      /** True if our form is the transpose. */
      transpose?: boolean;
      /** Applied to what was read: `exp` of a logarithm. */
      map?: (tensor: tf.Tensor) => tf.Tensor;
    }
  /** One number for all latents. */
  | { fill: number };

/** A coder as a layout describes it. */
export interface StoredCoder {
  name: string;
  layer?: number | undefined;
  /** File that the settings come from, for messages. */
  where: string;
  /** cfg.json of the coder that it will be. */
  cfg: Record<string, unknown>;
  /** Our weights by name. */
  plan: Readonly<Record<string, WeightPlan>>;
  /** Tensors of the file that say nothing about the result: counters, statistics. */
  ignored?: readonly string[];
  open(): Promise<TensorSource>;
  /** Folds what the layout keeps apart; disposes what it is given if it returns another coder. */
  finish?(coder: Coder, source: TensorSource): Promise<Coder>;
  /** Tensors that {@link finish} reads. */
  extra?: readonly string[];
  notes?: readonly string[];
  warnings?: readonly string[];
}

const DTYPES: Partial<Record<Dtype, string>> = { F16: 'float16', BF16: 'bfloat16' };

/** Checks settings and headers, and describes the coder. */
export async function entryOf(stored: StoredCoder): Promise<CoderEntry> {
  const source = await stored.open();
  try {
    const dtype = source.info(firstName(stored))?.dtype;
    const { cfg } = checkedConfig(
      { ...stored.cfg, dtype: (dtype && DTYPES[dtype]) ?? 'float32' },
      stored.where,
    );
    checkTensors(source, stored, cfg);
    return {
      name: stored.name,
      layer: stored.layer,
      cfg,
      files: source.files,
      tensors: tensorsOf(source),
      unread: stored.ignored ?? [],
      notes: stored.notes ?? [],
      warnings: stored.warnings ?? [],
      load: () => load(stored, cfg),
    };
  } finally {
    await source.close();
  }
}

function firstName({ plan }: StoredCoder): string {
  const weight = plan.W_enc ?? plan.W_dec;
  return weight && 'from' in weight ? weight.from : '';
}

/** Names, types and shapes of a file. */
export function tensorsOf(source: TensorSource): StoredTensor[] {
  return source.names().map((name) => {
    const { dtype, shape } = source.info(name)!;
    return { name, dtype, shape };
  });
}

function checkTensors(source: TensorSource, stored: StoredCoder, cfg: CoderConfig): void {
  const planned = new Set([...(stored.ignored ?? []), ...(stored.extra ?? [])]);
  for (const plan of Object.values(stored.plan)) {
    if (!('from' in plan)) continue;
    planned.add(plan.from);
    checkShape(source, plan.from, plan.dims, cfg);
  }
  const unknown = source.names().filter((name) => !planned.has(name));
  if (unknown.length === 0) return;
  throw new UnfoldError('bad-coder', {
    where: source.path,
    expected: `the tensors of this kind of coder: ${[...planned].join(', ')}`,
    found: `also ${unknown.join(', ')}, which would be left out`,
    todo: 'check that the settings beside the file are its own: another kind of coder has these tensors',
  });
}

function checkShape(source: TensorSource, name: string, dims: readonly Dimension[], cfg: CoderConfig): void {
  const expected = dims.map((d) => (d === 'd_out' ? outputWidth(cfg) : cfg[d]));
  const shape = source.info(name)?.shape;
  if (shape?.join() === expected.join()) return;
  throw new UnfoldError('bad-coder', {
    where: `${source.path}: tensor ${name}`,
    expected: `shape [${expected.join(', ')}] (${dims.join(', ')})`,
    found: shape ? `[${shape.join(', ')}]` : `no such tensor; there are ${source.names().join(', ')}`,
    todo: 'check that the settings and the weights belong together',
  });
}

async function load(stored: StoredCoder, cfg: CoderConfig): Promise<Coder> {
  const source = await stored.open();
  const weights: Record<string, tf.Tensor> = {};
  try {
    for (const [name, plan] of Object.entries(stored.plan)) weights[name] = await weight(source, plan, cfg);
    const coder = architectureNamed(cfg.architecture, stored.where).create(cfg, weights);
    return stored.finish ? await stored.finish(coder, source) : coder;
  } catch (error) {
    tf.dispose(weights);
    throw error;
  } finally {
    await source.close();
  }
}

async function weight(source: TensorSource, plan: WeightPlan, cfg: CoderConfig): Promise<tf.Tensor> {
  if ('fill' in plan) return tf.fill([cfg.d_sae], plan.fill);
  const data = await readFinite(source, plan.from);
  return tf.tidy(() => {
    const read = tf.tensor(data, source.info(plan.from)!.shape, 'float32');
    const turned = plan.transpose ? tf.transpose(read) : read;
    return plan.map ? plan.map(turned) : turned;
  });
}

/** The one number of a tensor with one element. */
export async function scalar(source: TensorSource, name: string): Promise<number> {
  const { data } = await source.read(name);
  const where = `${source.path}: tensor ${name}`;
  if (data.length === 1) return finite(Float32Array.of(Number(data[0])), where) && Number(data[0]);
  throw new UnfoldError('bad-coder', {
    where,
    expected: 'one number',
    found: `${data.length} numbers`,
    todo: 'check that the settings and the weights belong together',
  });
}

/** Refuses what a layout may hold but Unfold has no exact form for. */
export function refused(where: string, expected: string, found: string, todo: string): UnfoldError {
  return new UnfoldError('unknown-architecture', { where, expected, found, todo });
}
