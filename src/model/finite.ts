/**
 * @file Numbers that nothing can be computed with: NaN and infinities in weights and rows. A single one makes everything
 * that it touches NaN, or a latent silent for ever, so a tensor that has them is refused by name when it is read, and a
 * tensor that would get them by being stored in 16 bits is refused before it is written.
 */
import { UnfoldError } from '../errors.ts';
import { asFloat32, type Dtype, type TypedArray } from './dtypes.ts';
import type { TensorSource } from './safetensors.ts';

/** From here on, rounding to the type gives infinity. */
const FIRST_INFINITE: Partial<Record<Dtype, number>> = { F16: 65_520, BF16: 3.39617752923e38 };

/** How many entries are NaN or infinite, in words: `2 of 64 entries (1 NaN, 1 infinite)`; undefined if none is. */
export function notFinite(data: Float32Array): string | undefined {
  let [nan, infinite] = [0, 0];
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    if (value - value === 0) continue;
    if (Number.isNaN(value)) nan++;
    else infinite++;
  }
  if (nan + infinite === 0) return undefined;
  const kinds = [nan && `${nan} NaN`, infinite && `${infinite} infinite`].filter(Boolean).join(', ');
  return `${nan + infinite} of ${data.length} entries (${kinds})`;
}

/** The tensor as float32. @throws UnfoldError `not-finite` that says how many of its entries cannot be computed with */
export async function readFinite(source: TensorSource, name: string): Promise<Float32Array> {
  return finite(await source.readFloat32(name), `${source.path}: tensor ${name}`);
}

/** `data` itself. @throws UnfoldError `not-finite`; `where` names the tensor */
export function finite(data: Float32Array, where: string): Float32Array {
  const found = notFinite(data);
  if (found === undefined) return data;
  throw new UnfoldError('not-finite', {
    where,
    expected: 'finite numbers (in float32)',
    found,
    todo: 'use an earlier checkpoint of this coder or another copy of the file; a latent that shall never be on has a large finite threshold (3e38)',
  });
}

/** Refuses what would become infinite in `dtype`. @throws UnfoldError `not-finite`; `where` names the tensor */
export function refuseOverflow(data: TypedArray, dtype: Dtype, where: string): void {
  const first = FIRST_INFINITE[dtype];
  if (first === undefined || !(data instanceof Float32Array)) return;
  let [count, largest] = [0, 0];
  for (let i = 0; i < data.length; i++) {
    const size = Math.abs(data[i]!);
    if (!(size >= first && size < Number.POSITIVE_INFINITY)) continue;
    count++;
    largest = Math.max(largest, size);
  }
  if (count === 0) return;
  throw new UnfoldError('not-finite', {
    where,
    expected: `numbers that ${dtype} has: below ${first}`,
    found: `${count} of ${data.length} entries beyond it, the largest ${largest}`,
    todo: 'store it as float32',
  });
}

/** The tensors of `source` that hold NaN or infinity, each in words; those that cannot be read as numbers are left out. */
export async function unsoundTensors(
  source: TensorSource,
  isRead: (name: string) => boolean,
): Promise<string[]> {
  const found: string[] = [];
  for (const name of source.names()) {
    if (!isRead(name) || !FLOATS.has(source.info(name)!.dtype)) continue;
    const words = notFinite(asFloat32((await source.read(name)).data));
    if (words) found.push(`tensor ${name}: ${words}`);
  }
  return found;
}

const FLOATS: ReadonlySet<Dtype> = new Set(['F16', 'BF16', 'F32', 'F64']);
