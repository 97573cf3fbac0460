/**
 * @file What a checkpoint of a run in training has that a finished coder has not: rows scaled or whitened by
 * `activation_scaler.json` (undone by a fold, so that the coder takes plain rows), a threshold in another form, and a
 * running threshold among Unfold's statistics.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { exists, readJson } from '../../files.ts';
import { finite, readFinite } from '../../model/finite.ts';
import { openSafetensors, type TensorSource } from '../../model/safetensors.ts';
import * as tf from '../../tensor/tf.ts';
import type { Coder } from '../base.ts';
import { foldActivationScale, foldWhitening } from '../fold.ts';
import { architectureNamed } from '../registry.ts';

/** Where a checkpoint keeps the factor that its training rows were multiplied with. */
export const SCALER_FILE = 'activation_scaler.json';
/** Beside it, for covariance_whitening: mean, matrix, inverse_matrix. */
export const WHITENING_FILE = 'activation_whitening.safetensors';
/** Unfold's own counters and statistics. */
const STATE_FILE = 'state.json';

const scales = z.object({ in: z.array(z.number().positive()), out: z.array(z.number().positive()) });
const scaler = z.object({
  scaling_factor: z.number().positive().nullable(),
  has_whitening: z.boolean().default(false),
  /** Unfold: one of each hook, where there are several. */
  scaling_factors: scales.optional(),
});

/**
 * The coder for plain rows; `coder` is disposed where that is another one.
 * @throws UnfoldError `bad-coder` for a broken file, `cannot-fold`
 */
export async function forPlainRows(coder: Coder, dir: string): Promise<Coder> {
  const path = join(dir, SCALER_FILE);
  if (coder.cfg.normalize_activations === 'none' || !(await exists(path))) return coder;
  const parsed = scaler.safeParse(await readJson(path));
  if (!parsed.success) {
    throw new UnfoldError('bad-coder', {
      where: path,
      expected: 'the scale of the training rows: {"scaling_factor": number}',
      found: z.prettifyError(parsed.error).replaceAll('\n', ' '),
      todo: 'use the final coder of that run, into which it is folded',
    });
  }
  const { scaling_factor, scaling_factors, has_whitening } = parsed.data;
  if (has_whitening) return replaced(coder, await unwhitened(coder, join(dir, WHITENING_FILE)));
  if (scaling_factors) return replaced(coder, unscaled(coder, scaling_factors));
  return scaling_factor === null ? coder : replaced(coder, foldActivationScale(coder, scaling_factor));
}

function replaced(coder: Coder, folded: Coder): Coder {
  coder.dispose();
  return folded;
}

function unscaled(coder: Coder, { in: inputs, out }: z.infer<typeof scales>): Coder {
  const outputs = out.length > 0 ? out : inputs;
  const { foldScales } = architectureNamed(coder.cfg.architecture, 'checkpoint');
  if (foldScales) return foldScales(coder, { in: inputs, out: outputs });
  return foldActivationScale(coder, inputs[0]!, outputs[0]!);
}

async function unwhitened(coder: Coder, path: string): Promise<Coder> {
  const file = await openSafetensors(path);
  try {
    const read = async <R extends tf.Rank>(name: string) =>
      tf.tensor<R>(await readFinite(file, name), file.info(name)!.shape as tf.ShapeMap[R], 'float32');
    const mean = await read<tf.Rank.R1>('mean');
    const matrix = await read<tf.Rank.R2>('matrix');
    const inverse = await read<tf.Rank.R2>('inverse_matrix');
    try {
      return foldWhitening(coder, { mean, matrix, inverse });
    } finally {
      tf.dispose([mean, matrix, inverse]);
    }
  } finally {
    await file.close();
  }
}

/** Tensors that may stand for others: SAELens before 6.48 trained the logarithm of JumpReLU's threshold. */
export const STAND_INS: Readonly<Record<string, string>> = { threshold: 'log_threshold' };

/** A tensor of the architecture that is not in the file under its name; undefined if nothing stands for it. */
export async function standIn(
  file: TensorSource,
  name: string,
  { dir, shape }: { dir: string; shape: readonly number[] },
): Promise<tf.Tensor | undefined> {
  const other = STAND_INS[name];
  if (other && file.info(other)?.shape.join() === shape.join()) {
    const logarithms = await file.readFloat32(other);
    const data = finite(logarithms.map(Math.exp), `${file.path}: exp of tensor ${other}`);
    return tf.tensor(data, [...shape], 'float32');
  }
  if (name !== 'topk_threshold' || !(await exists(join(dir, STATE_FILE)))) return undefined;
  const { statistics } = (await readJson(join(dir, STATE_FILE))) as CheckpointState;
  const value = statistics?.topk_threshold;
  return typeof value === 'number' ? tf.scalar(value) : undefined;
}

interface CheckpointState {
  statistics?: Readonly<Record<string, unknown>>;
}
