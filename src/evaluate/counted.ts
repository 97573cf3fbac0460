/**
 * @file Which positions count. As in SAELens a position is left out if its own input token is excluded (special tokens)
 * or if it lies outside seqpos_slice; a position left out keeps its activation in the splice and enters no mean.
 */
import { UnfoldError } from '../errors.ts';

/** A Python slice `[start, stop, step]`; shorter lists as in SAELens's cfg.json: `[null]`, `[1]` is refused there too. */
export type SeqposSlice = readonly (number | null)[];

/** What is left out. */
export interface Exclusions {
  /** Input tokens whose positions do not count. */
  tokens?: ReadonlySet<number>;
  /** Positions that count; all if absent. */
  seqpos_slice?: SeqposSlice;
}

/** [tokens.length] 1 where a position counts. */
export function countedMask(tokens: ArrayLike<number>, exclusions: Exclusions): Uint8Array {
  const mask = new Uint8Array(tokens.length);
  for (const position of slicePositions(tokens.length, exclusions.seqpos_slice ?? [null])) {
    if (!exclusions.tokens?.has(tokens[position]!)) mask[position] = 1;
  }
  return mask;
}

/** The positions a Python slice takes out of `length`. `[stop]`, `[start, stop]` and `[start, stop, step]` as in `slice(*list)`. */
export function slicePositions(length: number, slice: SeqposSlice): number[] {
  const [start, stop, step] =
    slice.length <= 1 ? [null, slice[0] ?? null, null] : [slice[0]!, slice[1]!, slice[2] ?? null];
  const stride = step ?? 1;
  if (!Number.isInteger(stride) || stride < 1) {
    throw new UnfoldError('bad-setting', {
      where: 'seqpos_slice',
      expected: '[start, stop] or [start, stop, step] with a positive step; null for an open end',
      found: JSON.stringify(slice),
      todo: 'leave out position 0 with [1, null], or count every position with --all-tokens',
    });
  }
  const clamp = (bound: number) => Math.max(0, Math.min(length, bound < 0 ? bound + length : bound));
  const positions: number[] = [];
  for (let at = clamp(start ?? 0); at < clamp(stop ?? length); at += stride) positions.push(at);
  return positions;
}
