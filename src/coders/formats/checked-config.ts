/**
 * @file The settings of a coder out of a file, in any layout: held against the schema of its architecture, and every number
 * that decides how much is computed against the sizes that the weights have.
 */
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import type { Architecture } from '../architecture.ts';
import type { CoderConfig } from '../config.ts';
import { architectureNamed } from '../registry.ts';

/** The settings, defaults filled in. @throws UnfoldError `unknown-architecture`, `bad-coder` that name the setting */
export function checkedConfig(
  fields: Readonly<Record<string, unknown>>,
  where: string,
): { cfg: CoderConfig; architecture: Architecture } {
  const architecture = architectureNamed(fields.architecture, where);
  const parsed = architecture.schema.safeParse(fields);
  const found = parsed.success
    ? tooMuch(parsed.data)
    : z.prettifyError(parsed.error).replaceAll('\n', ' ').slice(0, 2000);
  if (parsed.success && !found) return { cfg: parsed.data, architecture };
  throw new UnfoldError('bad-coder', {
    where,
    expected: `the settings of a ${architecture.name} coder`,
    found: found!,
    todo: 'mend the named settings',
  });
}

/** What is beyond the coder's own sizes; undefined if nothing is. */
function tooMuch(cfg: CoderConfig): string | undefined {
  const { d_sae, k, activation, n_heads, bottleneck_factor } = cfg;
  for (const key of ['k', 'kval_topk', 'max_iterations'] as const) {
    const value = cfg[key];
    if (typeof value === 'number' && value > d_sae) return `${key} ${value}, of ${d_sae} latents`;
  }
  if ((activation === 'topk' || activation === 'groupmax') && !Number.isInteger(k))
    return `k ${String(k)}, where activation ${activation} wants a whole number`;
  const isGrouped = cfg.architecture.startsWith('groupmax') || activation === 'groupmax';
  if (isGrouped && d_sae % Number(k) !== 0) return `k ${String(k)}, which does not divide ${d_sae} latents`;
  if (typeof n_heads !== 'number' || typeof bottleneck_factor !== 'number') return undefined;
  const narrow = Math.floor(d_sae / bottleneck_factor);
  const isUneven = narrow < 1 || narrow % n_heads !== 0 || d_sae % n_heads !== 0;
  return isUneven
    ? `n_heads ${n_heads} and bottleneck_factor ${bottleneck_factor}, which do not part ${d_sae} latents evenly`
    : undefined;
}
