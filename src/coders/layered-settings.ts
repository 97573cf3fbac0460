/**
 * @file Settings of coders over several hooks, and the activation that they choose by name: the same classes that train
 * coders of one hook, with the same settings. The default is batchtopk: the number of latents is a setting, and what comes
 * out has JumpReLU latents, which circuit-tracer reads.
 */
import { z } from 'zod';
import type { Activation } from './activations/activation.ts';
import { BatchTopK, type BatchTopKSettings, batchTopKSettings } from './activations/batchtopk.ts';
import { GroupMax, type GroupMaxSettings, groupMaxSettings, requireGroups } from './activations/groupmax.ts';
import { JumpReLU, type JumpReLUSettings, jumpReLUSettings } from './activations/jumprelu.ts';
import { ReLU, type ReLUSettings, reluSettings } from './activations/relu.ts';
import { TopK, type TopKSettings, topKSettings } from './activations/topk.ts';
import type { LayeredActivation } from './clt-layout.ts';

/** Settings of each activation, their names and what makes it. */
const SETTINGS = {
  batchtopk: batchTopKSettings,
  topk: topKSettings,
  groupmax: groupMaxSettings,
  relu: reluSettings,
  jumprelu: jumpReLUSettings,
} satisfies Record<LayeredActivation, z.ZodRawShape>;
const names = Object.keys(SETTINGS) as [LayeredActivation, ...LayeredActivation[]];

/** Parsed settings: those of the chosen activation, and those of the coder. */
export type LayeredSettings = Record<string, unknown> & { activation: LayeredActivation };

/** Names of settings that the trained coder needs. */
export const layeredCoderKeys = ['activation', 'k', 'rescale_acts_by_decoder_norm'];

/**
 * The settings of a coder: `activation`, those of any activation, and its own. Which of the activations' count, and what
 * they may be, `activation` decides.
 * @param own the coder's own @param k default number of latents
 */
export function layeredSettings(own: z.ZodRawShape, k: number): z.ZodObject {
  const any = names.flatMap((name) =>
    Object.keys(SETTINGS[name]).map((key) => [key, z.unknown().optional()] as const),
  );
  const activation = z.enum(names).default('batchtopk');
  return z.object({ ...Object.fromEntries(any), activation, ...own }).check((context) => {
    const given = context.value as LayeredSettings;
    const schema = z.object(SETTINGS[given.activation] as z.ZodRawShape);
    const [mine, others] = [{ activation: given.activation } as LayeredSettings, {} as typeof given];
    for (const [key, value] of Object.entries(given)) {
      if (key in own) mine[key] = value;
      else if (value !== undefined && key !== 'activation') others[key] = value;
    }
    if ('k' in schema.shape) others.k ??= k;
    const stranger = Object.keys(others).find((key) => !(key in schema.shape));
    if (stranger !== undefined) {
      const known = Object.keys(schema.shape).join(', ');
      const message = `is no setting of activation ${given.activation}, which has ${known}`;
      context.issues.push({ code: 'custom', input: given[stranger], path: [stranger], message });
      return;
    }
    const parsed = schema.safeParse(others);
    if (parsed.success) context.value = { ...mine, ...parsed.data };
    else context.issues.push(...parsed.error.issues.map((issue) => ({ ...issue, input: given }) as never));
  });
}

/**
 * The activation that is set.
 * @param sizes `d_out`: width of one target, by which AuxK chooses how many dead latents a row may use
 */
export function layeredActivation(
  settings: LayeredSettings,
  { d_sae, d_out }: { d_sae: number; d_out: number },
): Activation {
  const own = { ...settings, aux_k: settings.aux_k ?? Math.max(1, Math.floor(d_out / 2)) };
  switch (settings.activation) {
    case 'batchtopk':
      return new BatchTopK(own as unknown as BatchTopKSettings);
    case 'topk':
      return new TopK(own as unknown as TopKSettings);
    case 'groupmax':
      requireGroups(Number(settings.k), d_sae);
      return new GroupMax(own as unknown as GroupMaxSettings);
    case 'relu':
      return new ReLU(own as unknown as ReLUSettings);
    case 'jumprelu':
      return new JumpReLU(own as unknown as JumpReLUSettings);
  }
}
