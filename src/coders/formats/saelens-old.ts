/**
 * @file SAELens before version 6 (2.x to 5.x): a flat cfg.json with `hook_point` or `hook_name`, and the activation in
 * `activation_fn_str`. What such a file computed then is computed now: topk by its activation, tanh(relu(z)) where it says
 * tanh-relu (SAELens 6 reads that as relu), and a fine-tuned scale of the latents multiplied into the decoder. Pickled
 * `.pt` files of 1.x and 2.x are refused: they hold an object of the library.
 */

import { brief } from '../../checked.ts';
import { UnfoldError } from '../../errors.ts';
import { readFinite } from '../../model/finite.ts';
import { hookLayer } from '../../model/hook-names.ts';
import { openSafetensors, type TensorSource } from '../../model/safetensors.ts';
import * as tf from '../../tensor/tf.ts';
import type { Coder } from '../base.ts';
import { architectureNamed } from '../registry.ts';
import type { CoderFormat, CoderSource } from './format.ts';
import { heedKeys, strangeFiles } from './keys.ts';
import type { Fields, Place } from './place.ts';
import { CFG_FILE, isOldLayout, WEIGHTS_FILE } from './saelens.ts';
import { METADATA_KEYS, OLD_KEYS } from './saelens-keys.ts';
import { entryOf, refused, type StoredCoder, type WeightPlan } from './stored.ts';

export const saelensOld: CoderFormat = {
  name: 'saelens-old',
  about: 'SAELens before version 6: a flat cfg.json, and sae_weights.safetensors',

  async detect(place: Place) {
    const fields = await place.json(CFG_FILE);
    if (!fields || !isOldLayout(fields) || !place.names.has(WEIGHTS_FILE)) return undefined;
    return `${CFG_FILE} without metadata and ${WEIGHTS_FILE}`;
  },

  async open(place: Place): Promise<CoderSource> {
    const weights = await openSafetensors(place.join(WEIGHTS_FILE));
    await weights.close();
    const entry = await entryOf(storedCoder(place, (await place.json(CFG_FILE)) ?? {}, weights.names()));
    return { format: 'saelens-old', path: place.path, kind: 'coder', entries: [entry] };
  },
};

/** Files of this layout: the same coder pickled, and how often its latents fire. */
const OWN_FILES = [
  WEIGHTS_FILE,
  'sparsity.safetensors',
  'log_feature_sparsity.safetensors',
  'log_feature_sparsity.pt',
];

/** The fine-tuned factor of each latent, under its two names. */
const SCALES = ['finetuning_scaling_factor', 'scaling_factor'];

function storedCoder(place: Place, fields: Fields, tensors: readonly string[]): StoredCoder {
  const where = place.join(CFG_FILE);
  const chosen = architectureOf(fields, where);
  const hook = String(eitherOf(fields, 'hook_name', 'hook_point', where) ?? '');
  const head = eitherOf(fields, 'hook_head_index', 'hook_point_head_index', where) ?? null;
  const normalised = normalisation(fields.normalize_activations);
  const warnings = heedKeys(fields, OLD_KEYS, where);
  const scales = tensors.filter((name) => SCALES.includes(name));
  return {
    name: place.name,
    layer: hookLayer(hook),
    where,
    cfg: {
      ...chosen,
      d_in: fields.d_in,
      d_sae: fields.d_sae,
      apply_b_dec_to_input: 'apply_b_dec_to_input' in fields ? fields.apply_b_dec_to_input : true,
      normalize_activations: normalised.kind,
      reshape_activations:
        fields.reshape_activations ?? (hook.endsWith('_z') && head === null ? 'hook_z' : 'none'),
      metadata: metadataOf(fields, hook, head),
    },
    plan: planOf(chosen.architecture),
    open: () => openSafetensors(place.join(WEIGHTS_FILE)),
    extra: scales,
    finish: (coder, source) => foldFineTuning(coder, source, scales, fields),
    notes: fields.finetuning_scaling_factor ? ['finetuning_scaling_factor is multiplied into W_dec'] : [],
    warnings: [
      ...warnings,
      ...normalised.warnings,
      ...strangeFiles(place.names, (name) => OWN_FILES.includes(name)),
    ],
  };
}

/** A setting under its newer or its older name. @throws UnfoldError `unknown-architecture` where the two differ */
function eitherOf(fields: Fields, name: string, older: string, where: string): unknown {
  const [value, other] = [fields[name] ?? undefined, fields[older] ?? undefined];
  if (value === undefined || other === undefined || value === other) return value ?? other;
  throw refused(
    `${where}: ${name}`,
    `the same as ${older}`,
    `${brief(value)} and ${brief(other)}`,
    'take one of them out: the files of one version have one',
  );
}

/** Architecture and activation were two settings then. */
function architectureOf(fields: Fields, where: string): Fields & { architecture: string } {
  const architecture = String(fields.architecture ?? 'standard');
  const activation = String(eitherOf(fields, 'activation_fn_str', 'activation_fn', where) ?? 'relu');
  const { k, ...others } = (fields.activation_fn_kwargs ?? {}) as Fields;
  const strange = Object.entries(others).filter(([, value]) => value !== null);
  if (strange.length > 0)
    throw refused(
      `${where}: activation_fn_kwargs`,
      'no other key than k',
      strange.map(([key, value]) => `${key}: ${brief(value)}`).join(', '),
      'an activation with such a setting cannot be computed here',
    );
  if (['standard', 'gated', 'jumprelu'].includes(architecture) && activation === 'relu')
    return { architecture };
  if (['standard', 'topk'].includes(architecture) && activation === 'topk' && typeof k === 'number')
    return { architecture: 'topk', k, rescale_acts_by_decoder_norm: false };
  if (architecture === 'standard' && activation === 'tanh-relu') return { architecture: 'tanh_relu' };
  throw refused(
    where,
    'standard, gated or jumprelu with relu, standard with tanh-relu, or topk with activation_fn_kwargs.k',
    `architecture ${architecture}, activation ${activation}, k ${String(k)}`,
    'this combination cannot be computed; no other is taken in its place',
  );
}

/** A boolean in 2.x. The scale of expected_average_only_in was applied to the rows outside of the coder. */
function normalisation(value: unknown): { kind: unknown; warnings: string[] } {
  const kind = value === true ? 'expected_average_only_in' : value || 'none';
  const isOutside = kind === 'expected_average_only_in';
  return {
    kind,
    warnings: isOutside
      ? ['it was trained on rows scaled to a mean norm of sqrt(d_in); the factor is not in the file']
      : [],
  };
}

/** The keys that version 6 keeps under metadata, by their new names. */
function metadataOf(fields: Fields, hook: string, head: unknown): Fields {
  const kept = METADATA_KEYS.filter((key) => key !== 'sae_lens_version' && fields[key] != null);
  const values = kept.map((key) => [key, fields[key]]);
  return {
    ...Object.fromEntries(values),
    ...(hook && { hook_name: hook }),
    ...(head !== null && { hook_head_index: head }),
  };
}

const shared: Record<string, WeightPlan> = {
  W_enc: { from: 'W_enc', dims: ['d_in', 'd_sae'], transpose: true },
  W_dec: { from: 'W_dec', dims: ['d_sae', 'd_out'] },
  b_dec: { from: 'b_dec', dims: ['d_out'] },
};

function planOf(architecture: string): Record<string, WeightPlan> {
  const vectors =
    architecture === 'gated'
      ? ['b_gate', 'b_mag', 'r_mag']
      : architecture === 'jumprelu'
        ? ['b_enc', 'threshold']
        : ['b_enc'];
  const plans = vectors.map((name): [string, WeightPlan] => [name, { from: name, dims: ['d_sae'] }]);
  return { ...shared, ...Object.fromEntries(plans) };
}

/** The factors multiply activations in front of the decoder: exactly W_dec with its rows multiplied. */
async function foldFineTuning(
  coder: Coder,
  source: TensorSource,
  scales: readonly string[],
  { finetuning_scaling_factor: isTuned }: Fields,
): Promise<Coder> {
  const [name] = scales;
  if (name === undefined) return coder;
  const factors = await readFinite(source, name);
  if (factors.every((factor) => factor === 1)) return coder;
  if (!isTuned || scales.length > 1 || factors.length !== coder.cfg.d_sae) {
    throw new UnfoldError('bad-coder', {
      where: `${source.path}: tensor ${name}`,
      expected: `one set of ${coder.cfg.d_sae} factors, and finetuning_scaling_factor: true in ${CFG_FILE}`,
      found: `${factors.length} factors other than 1, finetuning_scaling_factor: ${String(isTuned)}`,
      todo: `set it to what the coder was: whether the factors count is not known from the file`,
    });
  }
  const weights = {
    ...coder.weights,
    W_dec: tf.tidy(() => tf.mul(coder.weights.W_dec!, tf.tensor(factors, [factors.length, 1]))),
  };
  coder.weights.W_dec!.dispose();
  return architectureNamed(coder.cfg.architecture, source.path).create(coder.cfg, weights);
}
