/**
 * @file The Matryoshka BatchTopK coder (Bussmann et al., 2025; `sae_lens/saes/matryoshka_batchtopk_sae.py`): one BatchTopK
 * over all latents, and a reconstruction loss for every prefix of them. The systems weigh prefixes differently: SAELens
 * adds all up, dictionary_learning takes a weighted mean, Bussmann's own code a mean that counts b_dec alone as a prefix.
 * Only the size of AuxK beside them and the effect of clipping depend on it, so SAELens's is the default.
 */

import { z } from 'zod';
import { UnfoldError } from '../errors.ts';
import { Random } from '../random.ts';
import { BatchTopK, batchTopKSettings } from './activations/batchtopk.ts';
import type { Architecture } from './architecture.ts';
import { batchTopKConfig, batchtopk } from './batchtopk.ts';
import { checkedSettings } from './checked-config.ts';
import { type Reconstruct, reconstructPlainly } from './reconstruction.ts';
import { type Levels, reconstructPrefixes } from './reconstruction-matryoshka.ts';
import { saeTrainingCoder } from './sae-training.ts';

/** Prefixes as shares of all latents, unless set: those of the paper's largest coder (2048 … 65536). */
const SHARES = [1 / 32, 3 / 32, 7 / 32, 15 / 32, 1];

/** Numbers as a list, or as a command line has them: `16,64`. */
const list = (each: z.ZodNumber) =>
  z.preprocess((given) => {
    if (typeof given === 'number') return [given];
    return typeof given === 'string' ? given.split(',').map(Number) : given;
  }, z.array(each).min(1));

/** Settings of the prefixes, for the schema of an architecture. */
export const matryoshkaSettings = {
  /** Latents of each prefix, ascending; d_sae is added where it is missing. Default: 1, 3, 7, 15 and 32 32nds of d_sae. */
  matryoshka_widths: list(z.int().positive()).optional(),
  /**
   * `sum`: every prefix counts once (SAELens). `mean`: divided by their number (dictionary_learning).
   * `mean_with_empty`: b_dec alone is a prefix, too (Bussmann's code).
   */
  matryoshka_loss: z.enum(['sum', 'mean', 'mean_with_empty']).default('sum'),
  /** Weight of each prefix instead (dictionary_learning's `group_weights`). */
  matryoshka_weights: list(z.number().nonnegative()).optional(),
  /** Draws this many inner prefixes anew for every step instead (Nabeshima): lengths are Pareto distributed, as there. */
  matryoshka_random_prefixes: z.int().positive().optional(),
  /** Lets dead latents explain what the prefix they belong to leaves over, instead of what all latents do. */
  use_matryoshka_aux_loss: z.boolean().default(false),
};
const schema = z.object(matryoshkaSettings);
export type MatryoshkaSettings = z.infer<typeof schema>;

/** The reconstruction that these settings ask for; the plain one where there is one prefix only. */
export function matryoshkaReconstruction(settings: MatryoshkaSettings, d_sae: number): Reconstruct {
  const drawn = settings.matryoshka_random_prefixes;
  if (drawn !== undefined) {
    requireSetting(drawn < d_sae, 'matryoshka_random_prefixes', `fewer than d_sae = ${d_sae}`, drawn);
    const levelsAt = (step: number) => levelsOf(randomPrefixes(drawn, d_sae, step), settings, true);
    return reconstructPrefixes(levelsAt, settings.use_matryoshka_aux_loss);
  }
  const levels = levelsOf(checkedWidths(settings.matryoshka_widths, d_sae), settings, false);
  const isPlain = levels.widths.length === 1 && levels.weights[0] === 1 && levels.empty === 0;
  return isPlain ? reconstructPlainly : reconstructPrefixes(() => levels, settings.use_matryoshka_aux_loss);
}

function levelsOf(widths: readonly number[], settings: MatryoshkaSettings, areDrawn: boolean): Levels {
  const m = widths.length;
  const { matryoshka_loss: loss, matryoshka_weights: own } = settings;
  const share = loss === 'sum' ? 1 : 1 / (loss === 'mean' ? m : m + 1);
  requireSetting(
    !own || own.length === m,
    'matryoshka_weights',
    `one for each of ${m} prefixes`,
    own?.length,
  );
  return {
    widths,
    weights: own ?? widths.map(() => share),
    empty: loss === 'mean_with_empty' && !own ? share : 0,
    names: widths.map((width, j) => `inner_mse_loss_${areDrawn ? `level_${j + 1}` : width}`),
  };
}

/** The prefixes asked for, up to d_sae. */
function checkedWidths(wanted: readonly number[] | undefined, d_sae: number): number[] {
  if (!wanted) return [...new Set(SHARES.map((share) => Math.max(1, Math.round(share * d_sae))))];
  const widths = wanted.at(-1) === d_sae ? [...wanted] : [...wanted, d_sae];
  const ascends = widths.every((width, j) => j === 0 || width > widths[j - 1]!);
  requireSetting(ascends, 'matryoshka_widths', `ascending, up to d_sae = ${d_sae}`, wanted.join(', '));
  return widths;
}

/**
 * Prefix lengths of one step: P(length > l) falls as 1 / √l, up to d_sae (Pareto with exponent 1/2, cut off), each
 * length once, and d_sae itself.
 */
function randomPrefixes(count: number, d_sae: number, step: number): number[] {
  const random = Random.of(0, 'matryoshka', String(step));
  const lengths = new Set<number>();
  // u = 1 - s (1 - 1/√d_sae) is uniform between 1/√d_sae and 1, and 1/u² has that distribution.
  const draw = () => (1 - random.float() * (1 - 1 / Math.sqrt(d_sae))) ** -2;
  for (let tries = 0; lengths.size < count && tries < 100 * count; tries++)
    lengths.add(Math.min(d_sae - 1, Math.ceil(draw())));
  return [...lengths, d_sae].sort((a, b) => a - b);
}

function requireSetting(holds: boolean, where: string, expected: string, found: unknown): void {
  if (holds) return;
  throw new UnfoldError('bad-setting', { where, expected, found: String(found), todo: `change ${where}` });
}

const trainingSettings = z.object({ ...batchTopKSettings, ...matryoshkaSettings });

export const matryoshkaBatchtopk: Architecture = {
  ...batchtopk,
  name: 'matryoshka_batchtopk',
  about: 'batchtopk in which every prefix of the latents reconstructs by itself; comes out as jumprelu',
  schema: batchTopKConfig.extend({ matryoshka_widths: z.array(z.int().positive()).optional() }),
  training: {
    ...batchtopk.training!,
    settings: trainingSettings,
    coderKeys: [...batchtopk.training!.coderKeys!, 'matryoshka_widths'],
    create: (cfg, settings, parameters) => {
      const parsed = checkedSettings(trainingSettings, settings);
      return saeTrainingCoder(cfg, parsed, parameters, {
        activation: new BatchTopK(parsed),
        reconstruct: matryoshkaReconstruction(parsed, cfg.d_sae),
      });
    },
  },
};
