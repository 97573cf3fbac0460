/**
 * @file What happens to a batch before the encoder and after the decoder: leading dimensions are flattened (and the
 * heads of hook_z), rows are normalised, and both are undone on the way out. The statistics of a row travel in a value
 * of their own instead of hiding in the coder between encode and decode, as SAELens keeps them.
 */
import { UnfoldError } from '../errors.ts';
import * as tf from '../tensor/tf.ts';
import type { CoderConfig, Normalization } from './config.ts';

/** SAELens adds it to the standard deviation when dividing, and leaves it out when multiplying back. */
const LAYER_NORM_EPS = 1e-5;

/** Maps a normalised row back: `row * scale + shift`, each [rows, 1]; absent where it does nothing. */
export interface RowStatistics {
  scale?: tf.Tensor2D;
  shift?: tf.Tensor2D;
}

/** Rows as the encoder sees them (before b_dec is subtracted) and how to undo it. */
export interface NormalizedRows extends RowStatistics {
  rows: tf.Tensor2D;
}

/**
 * Normalises each row of `x` [rows, d]. A row of zeros has no direction and stays at 0.
 * `constant_norm_rescale`: to norm sqrt(d). `layer_norm`: mean 0, unbiased standard deviation 1. `none`,
 * `expected_average_only_in` and `covariance_whitening` change nothing here: the trainer applies those to its data
 * and folds them into the weights it exports.
 */
export function normalizeRows(x: tf.Tensor2D, kind: Normalization): NormalizedRows {
  const width = x.shape[1];
  if (kind === 'constant_norm_rescale') {
    const scale = tf.div(tf.norm(x, 'euclidean', 1, true), Math.sqrt(width)) as tf.Tensor2D;
    return { rows: tf.divNoNan(x, scale) as tf.Tensor2D, scale };
  }
  if (kind === 'layer_norm') {
    const shift = tf.mean(x, 1, true) as tf.Tensor2D;
    const centred = tf.sub(x, shift);
    const variance = tf.div(tf.sum(tf.square(centred), 1, true), Math.max(1, width - 1));
    const scale = tf.sqrt(variance) as tf.Tensor2D;
    return { rows: tf.div(centred, tf.add(scale, LAYER_NORM_EPS)), scale, shift };
  }
  return { rows: x };
}

/**
 * What a coder's encoder sees of `x` [rows, d_in], and what its output is restored with: nothing where it predicts another
 * activation (`d_out`), of which the input's statistics say nothing (`sae_lens/saes/transcoder.py`).
 */
export function encoderRows(
  x: tf.Tensor2D,
  { normalize_activations, d_out }: Pick<CoderConfig, 'normalize_activations' | 'd_out'>,
): NormalizedRows {
  const normalized = normalizeRows(x, normalize_activations);
  return d_out === undefined ? normalized : { rows: normalized.rows };
}

/** Undoes {@link normalizeRows}: [rows, d] in the encoder's space to the space of the activations. */
export function restoreRows(rows: tf.Tensor2D, { scale, shift }: RowStatistics): tf.Tensor2D {
  const scaled = scale ? tf.mul(rows, scale) : rows;
  return (shift ? tf.add(scaled, shift) : scaled) as tf.Tensor2D;
}

/** A batch with its leading dimensions flattened. */
export interface FlatRows {
  rows: tf.Tensor2D;
  /** Dimensions in front of a row. */
  leading: number[];
  /** Dimensions of a row: [d_in], or [heads, d_head]. */
  row: number[];
}

/**
 * Flattens `x` [..., d_in], or [..., heads, d_head] for hook_z, to [rows, d_in]. hook_z rows that are already flat
 * are taken as they are.
 * @throws UnfoldError `bad-rows` if the last dimensions do not make `d_in`.
 */
export function flattenRows(x: tf.Tensor, cfg: CoderConfig): FlatRows {
  const { shape } = x;
  const last = shape.at(-1) ?? 0;
  const heads = shape.at(-2) ?? 0;
  const isHeads = cfg.reshape_activations === 'hook_z' && shape.length >= 2 && heads * last === cfg.d_in;
  const row = isHeads ? [heads, last] : [last];
  if (shape.length === 0 || (!isHeads && last !== cfg.d_in)) throw wrongWidth(shape, cfg);
  return { rows: tf.reshape(x, [-1, cfg.d_in]), leading: shape.slice(0, shape.length - row.length), row };
}

function wrongWidth(shape: number[], cfg: CoderConfig): UnfoldError {
  const heads = cfg.reshape_activations === 'hook_z' ? ' (or [..., heads, d_head] that multiply to it)' : '';
  return new UnfoldError('bad-rows', {
    where: `input of the ${cfg.architecture} coder`,
    expected: `rows of width d_in = ${cfg.d_in}${heads}`,
    found: `a tensor of shape [${shape.join(', ')}]`,
    todo: `give it activations of ${String(cfg.metadata.hook_name ?? 'the hook it was trained on')}`,
  });
}
