/**
 * @file Runs a coder over rows from a file: what `unfold encode` does. Rows go through in batches; the results, which are
 * written at once, are all that has to fit into memory.
 */
import { breathe, type StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { explainedVariance } from '../explained-variance.ts';
import { readFinite } from '../model/finite.ts';
import { openSafetensors } from '../model/safetensors.ts';
import { writeSafetensors } from '../model/safetensors-write.ts';
import { refuseOwnInput } from '../own-input.ts';
import * as tf from '../tensor/tf.ts';
import type { Coder } from './base.ts';
import type { LoadOptions } from './coder.ts';
import { openCoder } from './formats/load.ts';

/** Where rows come from and where results go. */
export interface EncodeOptions extends LoadOptions {
  /** Folder or file of the coder, in any layout; of a set one is chosen by `layer`, `hook` or `name`. */
  coder: string;
  /** safetensors file of the rows. */
  input: string;
  /** Its tensor: [..., d_in], or [..., heads, d_head] for hook_z coders; any float type. */
  tensor?: string;
  /** safetensors file to be written: `feature_acts` [..., d_sae] and `output` (shape of the rows). */
  out: string;
  /** Rows at a time. */
  batch_rows?: number;
}

/** What was encoded. */
export interface EncodeResult {
  out: string;
  architecture: string;
  rows: number;
  d_in: number;
  d_sae: number;
  /** Mean number of non-zero activations a row. */
  l0: number;
  /** 1 - Σ (x - output)² / Σ (x - mean)², for coders that reconstruct their input. */
  explained_variance: number | null;
}

const BATCH_ROWS = 1024;

/**
 * Encodes and reconstructs the rows of a file.
 * @throws UnfoldError `missing-file`, `bad-safetensors`, `not-finite`, `bad-rows`, `too-large`, and those of the coder
 */
export async function encodeFile(options: EncodeOptions, context: StageContext): Promise<EncodeResult> {
  const { input, out, tensor: name = 'input' } = options;
  await refuseOwnInput('--out', out, [input, options.coder]);
  const { coder } = await openCoder(options.coder, options, context);
  const file = await openSafetensors(input);
  try {
    const shape = file.info(name)?.shape ?? [];
    const data = await readFinite(file, name);
    const rowDims = rowDimensions(coder, shape, `${input}: tensor ${name}`);
    const rows = shape.slice(0, shape.length - rowDims.length).reduce((product, size) => product * size, 1);
    const results = allocate(coder, rows, out);
    await run(coder, itemsOf(coder, { data, rows, rowDims, shape }, options), results, context);
    const leading = shape.slice(0, shape.length - rowDims.length);
    const outDims = results.width === data.length / rows ? rowDims : [results.width];
    await writeSafetensors(out, {
      feature_acts: { shape: [...leading, coder.latents], data: results.acts },
      output: { shape: [...leading, ...outDims], data: results.output },
    });
    return summary(coder, out, rows, data, results);
  } finally {
    await file.close();
    coder.dispose();
  }
}

interface Results {
  acts: Float32Array;
  output: Float32Array;
  width: number;
}

/** The dimensions of one row: [d_in], or [heads, d_head]. */
function rowDimensions({ cfg, inputWidth }: Coder, shape: number[], where: string): number[] {
  const [heads = 0, last = 0] = shape.slice(-2);
  if (shape.at(-1) === inputWidth) return [inputWidth];
  if (cfg.reshape_activations === 'hook_z' && shape.length >= 2 && heads * last === cfg.d_in)
    return [heads, last];
  throw new UnfoldError('bad-rows', {
    where,
    expected: `rows of width d_in = ${inputWidth}${cfg.reshape_activations === 'hook_z' ? ' or [heads, d_head] that multiply to it' : ''}`,
    found: `shape [${shape.join(', ')}]`,
    todo: `give activations of ${hooksRead(cfg.metadata)}; --tensor names the tensor`,
  });
}

/** The hook or hooks that a coder takes its rows from. */
function hooksRead({ hook_name, hook_names }: Record<string, unknown>): string {
  if (Array.isArray(hook_names)) return `${hook_names.join(', ')} side by side`;
  return String(hook_name ?? "the coder's hook");
}

function allocate({ latents, outputWidth: width }: Coder, rows: number, out: string): Results {
  try {
    return { acts: new Float32Array(rows * latents), output: new Float32Array(rows * width), width };
  } catch (cause) {
    throw new UnfoldError('too-large', {
      where: out,
      expected: 'activations that fit into memory',
      found: `${rows} rows of ${latents} latents, ${((rows * latents * 4) / 1e9).toFixed(1)} GB`,
      todo: 'encode fewer rows at a time',
      cause,
    });
  }
}

/** What goes through a coder at once: rows, or whole contexts for a coder that looks at neighbours. */
interface Items {
  data: Float32Array;
  count: number;
  /** Dimensions of one item, and its rows. */
  dims: number[];
  rows: number;
  /** Items at a time. */
  size: number;
}

function itemsOf(
  coder: Coder,
  { data, rows, rowDims, shape }: { data: Float32Array; rows: number; rowDims: number[]; shape: number[] },
  { batch_rows: size = BATCH_ROWS }: EncodeOptions,
): Items {
  const positions = (coder.takesContexts && shape.at(-2)) || 1;
  return {
    data,
    count: rows / positions,
    dims: coder.takesContexts ? [positions, ...rowDims] : rowDims,
    rows: positions,
    size: Math.max(1, Math.floor(size / positions)),
  };
}

async function run(coder: Coder, items: Items, into: Results, context: StageContext): Promise<void> {
  const { data, dims, rows } = items;
  const length = dims.reduce((product, size) => product * size, 1);
  const bar = context.bar('encode', items.count * rows, 'rows');
  for (let start = 0; start < items.count; start += items.size) {
    await breathe(context);
    const count = Math.min(items.size, items.count - start);
    const x = tf.tensor(data.subarray(start * length, (start + count) * length), [count, ...dims], 'float32');
    const acts = coder.encode(x);
    const output = coder.forward(x);
    into.acts.set((await acts.data()) as Float32Array, start * rows * coder.latents);
    into.output.set((await output.data()) as Float32Array, start * rows * into.width);
    tf.dispose([x, acts, output]);
    bar.update((start + count) * rows);
  }
  bar.finish();
}

function summary(
  coder: Coder,
  out: string,
  rows: number,
  x: Float32Array,
  { acts, output }: Results,
): EncodeResult {
  const { architecture, d_in, d_sae } = coder.cfg;
  let active = 0;
  for (const value of acts) if (value !== 0) active++;
  const explained_variance =
    coder.cfg.d_out === undefined && rows > 1 ? pooledVariance(x, output, d_in) : null;
  return { out, architecture, rows, d_in, d_sae, l0: active / Math.max(1, rows), explained_variance };
}

function pooledVariance(x: Float32Array, output: Float32Array, width: number): number {
  const sum = new Float64Array(width);
  let squares = 0;
  let error = 0;
  for (let i = 0; i < x.length; i++) {
    const value = x[i]!;
    const j = i % width;
    sum[j] = sum[j]! + value;
    squares += value * value;
    error += (value - output[i]!) ** 2;
  }
  const rows = x.length / width;
  const variance = squares - sum.reduce((total, s) => total + s * s, 0) / rows;
  return explainedVariance(error / rows, variance / rows);
}
