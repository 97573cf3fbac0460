/**
 * @file Activations of one input to a safetensors file, under TransformerLens's names: what `unfold cache` does.
 */
import type { StageContext } from '../context.ts';
import { silent } from '../context.ts';
import type * as tf from '../tensor/tf.ts';
import { expandHooks } from './hook-globs.ts';
import type { HookFlags } from './hook-names.ts';
import type { GPT2 } from './model.ts';
import { type TensorToWrite, writeSafetensors } from './safetensors-write.ts';

/** What to write. */
export interface RecordOptions {
  /** Rows of equal length. */
  tokens: number[][];
  /** Names or globs (`blocks.*.hook_resid_post`), or `all`. */
  hooks: readonly string[];
  stop_at_layer?: number;
  /** Settings that add hook points. */
  flags?: Partial<HookFlags>;
  /** The safetensors file. */
  out: string;
}

/** One activation in the summary. */
export interface RecordedTensor {
  name: string;
  shape: number[];
  /** Mean of the finite entries. */
  mean: number;
  /** Frobenius norm of the finite entries. */
  norm: number;
}

/** What was written: activations in firing order, then `logits` if the whole model ran. */
export interface Recorded {
  out: string;
  tokens: number[][];
  tensors: RecordedTensor[];
}

/**
 * Runs the model once and writes the activations, `tokens` (int64) and, if the whole model ran, `logits` (float32).
 * @throws UnfoldError `unknown-hook`, `bad-tokens`, `bad-layer`, `disk-full`.
 */
export async function recordActivations(
  model: GPT2,
  { tokens, hooks, stop_at_layer, flags, out }: RecordOptions,
  context: StageContext = silent(),
): Promise<Recorded> {
  const active = { ...model.flags, ...flags };
  const wanted = expandHooks(model.cfg, hooks, { flags: active, stopAtLayer: stop_at_layer });
  const stop = stop_at_layer === undefined ? {} : { stopAtLayer: stop_at_layer };
  const { cache, logits } = model.runWithCache(tokens, { namesFilter: wanted, flags: active, ...stop });
  try {
    const tensors: [string, tf.Tensor][] = [...cache];
    if (stop_at_layer === undefined) tensors.push(['logits', logits]);
    const files = new Map<string, TensorToWrite>([['tokens', idsTensor(tokens)]]);
    for (const [name, tensor] of tensors) {
      files.set(name, { shape: tensor.shape, data: (await tensor.data()) as Float32Array });
    }
    await writeSafetensors(out, files, { model: model.path, weights_sha256: model.weightsHash });
    context.note(`${files.size} tensors in ${out}`);
    return { out, tokens, tensors: tensors.map(([name]) => summary(name, files.get(name)!)) };
  } finally {
    cache.dispose();
    logits.dispose();
  }
}

function idsTensor(tokens: number[][]): TensorToWrite {
  return { shape: [tokens.length, tokens[0]!.length], data: BigInt64Array.from(tokens.flat(), BigInt) };
}

function summary(name: string, { shape, data }: TensorToWrite): RecordedTensor {
  let sum = 0;
  let squares = 0;
  let finite = 0;
  for (const value of data as Float32Array) {
    if (!Number.isFinite(value)) continue;
    finite++;
    sum += value;
    squares += value * value;
  }
  return { name, shape: [...shape], mean: finite ? sum / finite : 0, norm: Math.sqrt(squares) };
}
