/** @file The activation scale of a hook, where there is one: rows that are all 0 cannot be scaled to any norm. */
import type { CoderHooks } from '../coders/training.ts';
import { UnfoldError } from '../errors.ts';
import type { HookWidth } from '../shards/block-source.ts';
import type { HookScales } from './rows.ts';

/** The scale itself, sqrt(width) / mean norm. @throws UnfoldError `no-scale` where the mean norm is 0 */
export function usableScale({ name }: Pick<HookWidth, 'name'>, scale: number): number {
  // NaN comes of rows that are not finite: the step that meets them says where they are.
  if (Number.isFinite(scale) || Number.isNaN(scale)) return scale;
  throw new UnfoldError('no-scale', {
    where: `rows of ${name}`,
    expected: 'a mean norm above 0: normalize_activations expected_average_only_in scales it to sqrt(width)',
    found:
      'a mean norm of 0: every row that was measured is 0 (a pruned layer, or a hook that is never written)',
    todo: 'train on another hook, or set normalize_activations to none',
  });
}

/** All scales of a run. @throws UnfoldError `no-scale` that names the hook */
export function usableScales(hooks: CoderHooks, scales: HookScales): HookScales {
  hooks.in.forEach((hook, i) => void usableScale(hook, scales.in[i]!));
  hooks.out.forEach((hook, i) => void usableScale(hook, scales.out[i]!));
  return scales;
}
