/**
 * @file A trained coder as a training coder again. Which variant learns follows from what was exported: a JumpReLU coder that
 * came out of BatchTopK goes on as JumpReLU (every latent's threshold learns from then on), a transcoder by its latents.
 * Exported coders are for plain rows; they are brought back to the space in which training settings mean what they say: rows
 * of mean norm sqrt(d), decoder rows of norm 1. Both ways are exact folds, so a step of length 0 changes nothing.
 */

import type { Coder } from '../coders/base.ts';
import { checkedConfig } from '../coders/checked-config.ts';
import { type CoderConfig, coderConfig } from '../coders/config.ts';
import { foldActivationScale, foldDecoderNorms } from '../coders/fold.ts';
import { architectureNamed } from '../coders/registry.ts';
import type { CoderHooks, Parameter, Parameters } from '../coders/training.ts';
import { UnfoldError } from '../errors.ts';
import type * as tf from '../tensor/tf.ts';
import { parameter } from '../train/initialise.ts';
import type { HookScales } from '../train/rows.ts';
import type { TrainSettings, TrainSettingsInput } from '../train/settings.ts';

/** How a trained coder learns. */
export interface Variant {
  architecture: string;
  /** Of transcoders. */
  activation?: string;
}

const SAES = ['standard', 'topk', 'jumprelu', 'gated', 'abstopk', 'groupmax'];
/** By what a transcoder's name begins with. */
const TRANSCODERS = {
  '': 'relu',
  topk_: 'topk',
  jumprelu_: 'jumprelu',
  gated_: 'gated',
  abstopk_: 'abstopk',
  groupmax_: 'groupmax',
};

const variants = new Map<string, Variant>([
  ...SAES.map((architecture): [string, Variant] => [architecture, { architecture }]),
  ...Object.entries(TRANSCODERS).flatMap(([prefix, activation]): [string, Variant][] => [
    [`${prefix}transcoder`, { architecture: 'transcoder', activation }],
    [`${prefix}skip_transcoder`, { architecture: 'skip_transcoder', activation }],
  ]),
]);

/** The variant that learns. @throws UnfoldError `unknown-architecture` naming those that can be fine-tuned */
export function variantOf({ architecture }: Pick<CoderConfig, 'architecture'>): Variant {
  const variant = variants.get(architecture);
  if (variant) return variant;
  throw new UnfoldError('unknown-architecture', {
    where: 'the coder to be fine-tuned',
    expected: `one coder at one place in the model, with a gradient of its own: ${[...variants.keys()].join(', ')}`,
    found: architecture,
    todo: 'fine-tune one of these; batchtopk and matryoshka_batchtopk coders are exported as jumprelu',
  });
}

/** Settings that the coder brings along: its sizes, and what its training used where that is the same variant. */
export function inheritedSettings({ cfg }: Coder, variant: Variant): TrainSettingsInput {
  const { training } = architectureNamed(variant.architecture, 'coder');
  const { training_architecture, training_architecture_details: details } = cfg.metadata;
  const before = training_architecture === variant.architecture ? (details as Record<string, unknown>) : {};
  const isSame = variant.activation === undefined || before?.activation === variant.activation;
  const known = Object.keys(training!.settings.shape);
  const own = (from: Record<string, unknown> | undefined) =>
    Object.fromEntries(
      Object.entries(from ?? {}).filter(([key, value]) => known.includes(key) && value != null),
    );
  const { d_sae, dtype, apply_b_dec_to_input, reshape_activations } = cfg;
  return {
    ...(isSame && own(before)),
    ...own(Object.fromEntries(training!.coderKeys?.map((key) => [key, cfg[key]]) ?? [])),
    ...variant,
    d_sae,
    dtype: dtype as 'float32',
    apply_b_dec_to_input,
    reshape_activations,
    normalize_activations: isByRow(cfg) ? cfg.normalize_activations : 'expected_average_only_in',
  };
}

/** True if each row is normalised by itself, also when the coder runs: there is nothing to fold. */
export function isByRow({
  normalize_activations: kind,
}: Pick<CoderConfig, 'normalize_activations'>): boolean {
  return kind === 'layer_norm' || kind === 'constant_norm_rescale';
}

/** Parameters to go on from, for rows times `scales`. They belong to the caller, as the coder does. */
export function startingParameters(coder: Coder, scales: HookScales): Parameters {
  const steps: Coder[] = [];
  const last = () => steps.at(-1) ?? coder;
  if (!isByRow(coder.cfg)) {
    const [scale, out] = [scales.in[0]!, scales.out[0] ?? scales.in[0]!];
    steps.push(foldActivationScale(coder, 1 / scale, 1 / out));
  }
  const { cannotFoldNorms } = architectureNamed(coder.cfg.architecture, 'coder');
  if (!cannotFoldNorms?.(last().cfg)) steps.push(foldDecoderNorms(last()));
  const entries = Object.entries(last().weights).map(([name, weight]) => [name, parameterOf(weight)]);
  for (const step of steps) step.dispose();
  return Object.fromEntries(entries) as Parameters;
}

function parameterOf(weight: tf.Tensor): Parameter {
  return parameter((weight.dataSync() as Float32Array).slice(), weight.shape);
}

/** cfg.json of the coder in training. */
export function trainingConfig(
  { cfg }: Coder,
  variant: Variant,
  settings: TrainSettings,
  metadata: Record<string, unknown>,
): CoderConfig {
  const { training, schema } = architectureNamed(variant.architecture, 'coder');
  const own = Object.fromEntries((training!.coderKeys ?? []).map((key) => [key, settings.coder[key]]));
  const { normalize_activations, dtype } = settings;
  return checkedConfig(
    schema,
    checkedConfig(coderConfig, {
      ...cfg,
      ...variant,
      ...Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)),
      normalize_activations,
      dtype,
      metadata: { ...cfg.metadata, ...metadata },
    }),
  );
}

/** The hooks as the trainer names them. */
export function hooksOfRun({ cfg }: Coder, hookIn: string, hookOut: string): CoderHooks {
  const isTranscoder = cfg.d_out !== undefined || hookOut !== hookIn;
  return {
    in: [{ name: hookIn, width: cfg.d_in }],
    out: isTranscoder ? [{ name: hookOut, width: cfg.d_out ?? cfg.d_in }] : [],
  };
}
