/**
 * @file The model as a coder's rows were taken from it: SAELens records under `model_from_pretrained_kwargs` what its loader of
 * TransformerLens was told. What changes what is computed is done here, too; what cannot be done is refused by name; what
 * only says where and how fast has no meaning here.
 */

import { brief } from '../checked.ts';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { type GPT2, loadGPT2 } from '../model/gpt2.ts';
import { defaultFlags } from '../model/hook-names.ts';
import { type ProcessOptions, standardProcessing } from '../model/process-weights.ts';

/** Settings that choose a machine, or change nothing of what a hook point holds. */
const INDIFFERENT = new Set([
  'n_devices',
  'device',
  'device_map',
  'move_to_device',
  'low_cpu_mem_usage',
  'trust_remote_code',
  'local_files_only',
  'cache_dir',
  'token',
  'use_auth_token',
  'use_safetensors',
  'attn_implementation',
  'default_padding_side',
  'default_prepend_bos',
  'hf_model',
  'tokenizer',
]);
const DTYPES = new Set(['dtype', 'torch_dtype']);

/** Loads the model at `dir`, processed as the metadata says. @throws UnfoldError `bad-coder` for what cannot be done here */
export async function loadModelOf(
  metadata: Readonly<Record<string, unknown>>,
  { dir, where }: { dir: string; where: string },
  context: StageContext,
): Promise<GPT2> {
  const { processing, flags, dtype } = modelSettingsOf(metadata, where);
  if (dtype !== undefined)
    context.warn(`the coder's rows were taken from a model in ${dtype}; here it computes in float32`);
  const loaded = await loadGPT2(dir, context);
  const wanted = Object.keys(processing);
  const model = wanted.length > 0 ? loaded.process(processing) : loaded;
  if (model !== loaded) {
    loaded.dispose();
    context.note(`the model's weights are processed as for the coder: ${wanted.join(', ')}`);
  }
  model.flags = { ...model.flags, ...flags };
  return model;
}

interface ModelSettings {
  processing: ProcessOptions;
  flags: Partial<typeof defaultFlags>;
  dtype: string | undefined;
}

function modelSettingsOf(metadata: Readonly<Record<string, unknown>>, where: string): ModelSettings {
  const found: ModelSettings = { processing: {}, flags: {}, dtype: undefined };
  for (const section of ['model_from_pretrained_kwargs', 'model_kwargs']) {
    const given = metadata[section] ?? {};
    if (typeof given !== 'object' || Array.isArray(given))
      throw refused(`${where}: metadata.${section}`, given, 'an object of settings');
    for (const [key, value] of Object.entries(given))
      take(found, key, value, `${where}: metadata.${section}.${key}`);
  }
  return found;
}

function take(found: ModelSettings, key: string, value: unknown, where: string): void {
  if (value === null || INDIFFERENT.has(key)) return;
  const isSwitch =
    key in standardProcessing || key in defaultFlags || key === 'refactor_factored_attn_matrices';
  if (isSwitch && typeof value !== 'boolean') throw refused(where, value, 'true or false');
  if (value === false && isSwitch) return;
  if (key in standardProcessing) found.processing[key as keyof ProcessOptions] = true;
  else if (key in defaultFlags) found.flags[key as keyof typeof defaultFlags] = true;
  else if (DTYPES.has(key)) found.dtype = otherThanFloat32(value) ?? found.dtype;
  else
    throw refused(
      where,
      value,
      `settings that Unfold has, too: ${Object.keys(standardProcessing).join(', ')}`,
    );
}

function otherThanFloat32(dtype: unknown): string | undefined {
  const name = String(dtype).replace(/^torch\./, '');
  return name === 'float32' || name === 'float' ? undefined : brief(name);
}

function refused(where: string, value: unknown, expected: string): UnfoldError {
  return new UnfoldError('bad-coder', {
    where,
    expected,
    found: brief(value),
    todo: 'give a model whose weights are so already, and take the key out of cfg.json',
  });
}
