/**
 * @file Runs a coder over rows in pieces that fit memory, and hands back activations as sparse rows. Reconstruction is
 * `forward`: with the skip connection of a skip transcoder, which SAELens's own evaluation (decode of encode) leaves out.
 */
import type { Coder } from '../coders/coder.ts';
import * as tf from '../tensor/tf.ts';
import { type SparseRows, sparseFromDense, sparseFromPairs } from './sparse-rows.ts';

/** Entries of a dense [rows, d_sae] matrix held at once: 64 MB. */
const DENSE_ENTRIES = 2 ** 24;

/** What a coder makes of rows. */
export interface CoderPass {
  acts: SparseRows;
  /** [rows, d_out] row-major */
  xhat: Float32Array;
}

/** Encodes and reconstructs `x`, [rows, d_in] row-major. */
export function passThrough(coder: Coder, x: Float32Array, rows: number): CoderPass {
  const passes = pieces(coder, rows).map(([start, end]) => onePiece(coder, x, start, end));
  return { acts: joinActs(passes.map(({ acts }) => acts)), xhat: joinFloats(passes.map(({ xhat }) => xhat)) };
}

/** Encodes `x`, [rows, d_in] row-major. */
export function encodeRows(coder: Coder, x: Float32Array, rows: number): SparseRows {
  return joinActs(
    pieces(coder, rows).map(([start, end]) => {
      const piece = tensorOf(coder, x, start, end);
      const acts = sparseActs(coder, piece);
      piece.dispose();
      return acts;
    }),
  );
}

function pieces(coder: Coder, rows: number): [start: number, end: number][] {
  const size = Math.max(64, Math.floor(DENSE_ENTRIES / coder.cfg.d_sae));
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => [i * size, Math.min(rows, (i + 1) * size)]);
}

function tensorOf(coder: Coder, x: Float32Array, start: number, end: number): tf.Tensor2D {
  const { d_in } = coder.cfg;
  return tf.tensor2d(x.subarray(start * d_in, end * d_in), [end - start, d_in]);
}

function onePiece(coder: Coder, x: Float32Array, start: number, end: number): CoderPass {
  const piece = tensorOf(coder, x, start, end);
  try {
    const pairs = coder.encodeSparse(piece);
    if (pairs) return { acts: takePairs(pairs), xhat: take(coder.forward(piece)) };
    const dense = coder.encode(piece);
    const made = 'W_skip' in coder.weights ? coder.forward(piece) : coder.decode(dense, piece);
    return { acts: sparseFromDense(take(dense), end - start, coder.cfg.d_sae), xhat: take(made) };
  } finally {
    piece.dispose();
  }
}

function sparseActs(coder: Coder, piece: tf.Tensor2D): SparseRows {
  const pairs = coder.encodeSparse(piece);
  return pairs
    ? takePairs(pairs)
    : sparseFromDense(take(coder.encode(piece)), piece.shape[0], coder.cfg.d_sae);
}

function takePairs({ values, indices }: { values: tf.Tensor2D; indices: tf.Tensor2D }): SparseRows {
  const [rows, k] = values.shape;
  return sparseFromPairs(take(values), take(indices) as unknown as Int32Array, rows, k);
}

/** A tensor's values; the tensor is disposed. */
function take(tensor: tf.Tensor): Float32Array {
  const values = tensor.dataSync() as Float32Array;
  tensor.dispose();
  return values;
}

function joinActs(parts: SparseRows[]): SparseRows {
  if (parts.length === 1) return parts[0]!;
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const nonzero = parts.reduce((sum, part) => sum + part.values.length, 0);
  const joined: SparseRows = {
    rows,
    starts: new Uint32Array(rows + 1),
    indices: new Uint32Array(nonzero),
    values: new Float32Array(nonzero),
  };
  let [row, filled] = [0, 0];
  for (const part of parts) {
    joined.indices.set(part.indices, filled);
    joined.values.set(part.values, filled);
    for (let i = 1; i <= part.rows; i++) joined.starts[row + i] = filled + part.starts[i]!;
    row += part.rows;
    filled += part.values.length;
  }
  return joined;
}

function joinFloats(parts: Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const joined = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let filled = 0;
  for (const part of parts) {
    joined.set(part, filled);
    filled += part.length;
  }
  return joined;
}
