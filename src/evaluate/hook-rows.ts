/**
 * @file A hook's value as rows for a coder, and back: [batch, pos, d], or [batch, pos, heads, d_head] with the heads
 * flattened, seen as [batch · pos, width].
 */
import * as tf from '../tensor/tf.ts';

/** Picks the rows whose mask is 1 out of [rows, width]. */
export function pickRows(values: Float32Array, width: number, mask: Uint8Array): Float32Array {
  const counted = mask.reduce((sum, one) => sum + one, 0);
  if (counted === mask.length) return values;
  const picked = new Float32Array(counted * width);
  let filled = 0;
  mask.forEach((one, row) => {
    if (one) picked.set(values.subarray(row * width, (row + 1) * width), width * filled++);
  });
  return picked;
}

/** `original` [rows, width] with the masked rows replaced by the rows of `replacement` in order. */
export function replaceRows(
  original: Float32Array,
  width: number,
  mask: Uint8Array,
  replacement: Float32Array,
): Float32Array {
  const result = original.slice();
  let taken = 0;
  mask.forEach((one, row) => {
    if (one) result.set(replacement.subarray(width * taken, width * ++taken), row * width);
  });
  return result;
}

/** `original` [rows, width] with every masked row replaced by `row`. */
export function fillRows(
  original: Float32Array,
  width: number,
  mask: Uint8Array,
  row: Float32Array,
): Float32Array {
  const result = original.slice();
  mask.forEach((one, i) => {
    if (one) result.set(row, i * width);
  });
  return result;
}

/** A hook that puts `values` in place of whatever the model computed there. */
export function splice(name: string, values: Float32Array): [string, (activation: tf.Tensor) => tf.Tensor] {
  return [name, (activation) => tf.tensor(values, activation.shape)];
}
