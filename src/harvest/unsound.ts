/**
 * @file The error for an activation that must not be stored: NaN, infinity, or too large for float16. It names hook,
 * layer, context and position, so that the input can be looked at.
 */
import { UnfoldError } from '../errors.ts';
import { hookLayer } from '../model/hook-names.ts';
import type { UnsoundBlock } from '../shards/writer.ts';
import type { BlockForward } from './forward.ts';

/** UnfoldError `not-finite` (NaN, infinity) or `float16-overflow`. */
export function unsoundActivation(forward: BlockForward, block: number, bad: UnsoundBlock): UnfoldError {
  const { context, position, token } = forward.placeOf(block, bad.row);
  const layer = hookLayer(bad.hook);
  const at = `context ${context}, position ${position} (token ${token}), dimension ${bad.dimension}`;
  const where = `${bad.hook}${layer === undefined ? '' : ` (layer ${layer})`}: ${at}`;
  if (Number.isFinite(bad.value)) {
    return new UnfoldError('float16-overflow', {
      where,
      expected: 'magnitudes below 65520, the range of float16',
      found: String(bad.value),
      todo: 'harvest with --dtype float32 into another --out',
    });
  }
  return new UnfoldError('not-finite', {
    where,
    expected: 'a finite number',
    found: String(bad.value),
    todo: `look at the model: unfold cache shows this context's activations; earlier layers tell where it begins`,
  });
}
