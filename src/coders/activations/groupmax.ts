/**
 * @file GroupMax (`sparsify`'s alternative to TopK) in training: latents form k groups of neighbours, and the largest of
 * each group is kept and rectified. No ranking over all latents, and every latent competes with the same few.
 */
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { encodeGroupMax } from '../../tensor/kernels/encode-groupmax.ts';
import { auxKSettings } from '../auxk.ts';
import { DenseCode, SparseCode } from '../code.ts';
import type { Activated, Activation, EncoderState } from './activation.ts';
import { rectified } from './topk.ts';

/** Settings of {@link GroupMax}, for the schema of an architecture. */
export const groupMaxSettings = {
  /** Groups, and so active latents a row: a divisor of d_sae. sparsify's default. */
  k: z.int().positive().default(32),
  ...auxKSettings,
};
const schema = z.object(groupMaxSettings);
export type GroupMaxSettings = z.infer<typeof schema>;

/** The largest of each of k groups. Loss: AuxK. The groups are the coder's, so a schedule of k does not move them. */
export class GroupMax implements Activation {
  readonly #settings: GroupMaxSettings;

  constructor(settings: GroupMaxSettings) {
    this.#settings = settings;
  }

  encode(state: EncoderState): Activated {
    const { rows, W_enc, b_enc, dense } = state;
    const { values, indices } = encodeGroupMax(rows, W_enc, b_enc, this.#settings.k);
    const code = new SparseCode(W_enc.shape[0], values, indices);
    return rectified(state, dense ? new DenseCode(code.dense()) : code, this.#settings, undefined);
  }
}

/** @throws UnfoldError `bad-setting` unless the latents make k equal groups */
export function requireGroups(k: number, d_sae: number): void {
  if (d_sae % k === 0) return;
  const divisors: number[] = [];
  for (let n = 1; n * n <= d_sae; n++) if (d_sae % n === 0) divisors.push(n, d_sae / n);
  const near = divisors.sort((a, b) => Math.abs(a - k) - Math.abs(b - k)).slice(0, 2);
  throw new UnfoldError('bad-setting', {
    where: 'groupmax: k',
    expected: `a divisor of d_sae = ${d_sae}: latents form k groups of equal size`,
    found: `${k}`,
    todo: `choose k ${near.join(' or ')}, or another d_sae`,
  });
}
