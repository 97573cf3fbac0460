/**
 * @file The positions a coder was not trained on, from its cfg.json (SAELens's `exclude_special_tokens` and
 * `seqpos_slice`): by default they are left out of its evaluation too, since it was never asked to reconstruct them.
 */
import type { Coder } from '../coders/coder.ts';
import { rowRuleOfCoder } from '../text/coder-packing.ts';
import type { Exclusions } from './counted.ts';

/** What `metadata` leaves out; `specialIds` are the tokeniser's, meant by `exclude_special_tokens: true`. */
export function exclusionsOf({ cfg }: Pick<Coder, 'cfg'>, specialIds: ReadonlySet<number>): Exclusions {
  const { exclude_special_tokens, seqpos_slice } = rowRuleOfCoder(cfg.metadata);
  const listed = Array.isArray(exclude_special_tokens) ? exclude_special_tokens : [];
  return {
    tokens: exclude_special_tokens === true ? specialIds : new Set(listed),
    ...(seqpos_slice && { seqpos_slice }),
  };
}

/** For people: "special tokens and positions outside [1, null] are left out". */
export function describeExclusions({ tokens, seqpos_slice }: Exclusions): string {
  const parts = [
    ...(tokens?.size ? [`tokens ${[...tokens].join(', ')}`] : []),
    ...(seqpos_slice?.some((bound) => bound !== null)
      ? [`positions outside seqpos_slice ${JSON.stringify(seqpos_slice)}`]
      : []),
  ];
  return parts.length === 0 ? 'all positions count' : `${parts.join(' and ')} are left out`;
}
