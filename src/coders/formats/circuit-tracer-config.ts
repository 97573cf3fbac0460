/** @file The config.yaml of a circuit-tracer set: read with its keys checked, and written in the order of the originals. */
import { stringify } from 'yaml';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { parseYaml, plainValue } from '../../yaml.ts';
import { type KeyTable, off } from './keys.ts';
import type { Place } from './place.ts';

const schema = z.looseObject({
  model_name: z.string().optional(),
  model_kind: z.enum(['transcoder_set', 'cross_layer_transcoder']),
  /** Name of the hook without `blocks.N.`. */
  feature_input_hook: z.string(),
  feature_output_hook: z.string(),
  scan: z.union([z.string(), z.array(z.string())]).nullish(),
  /** One file a layer: paths, or hf://org/repo/file?revision=…; default: layer_N.safetensors beside the config. */
  transcoders: z.array(z.string()).nonempty().optional(),
  activation: z.enum(['relu', 'jump_relu', 'jumprelu']).optional(),
});
export type TracerConfig = z.infer<typeof schema>;

/** config.yaml. What the loader itself writes over (where the set came from) says nothing about the coders. */
export const TRACER_KEYS: KeyTable = {
  whose: 'a circuit-tracer set',
  used: Object.keys(schema.shape),
  neutral: ['repo_id', 'revision', 'subfolder', 'dtype', 'description', 'license', 'tags'],
  refused: {
    special_load_fn: off('files of another layout (Gemma Scope)'),
    hook_head_index: { harmless: [null], means: 'rows of one head' },
    normalize_activations: { harmless: ['none', null, false], means: 'rows scaled before they are encoded' },
    k: off('TopK latents'),
    topk: off('TopK latents'),
  },
};

/** @throws UnfoldError `missing-file`, `bad-config` */
export async function readTracerConfig(place: Place, name: string): Promise<TracerConfig> {
  const text = await place.text(name);
  const where = place.join(name);
  if (text === undefined) {
    throw new UnfoldError('missing-file', {
      where,
      expected: 'the config of the set: which activations its transcoders read and write is in no other file',
      found: 'no such file',
      todo: 'write one: model_name, model_kind (transcoder_set or cross_layer_transcoder), feature_input_hook and feature_output_hook',
    });
  }
  const result = schema.safeParse(parsed(text, where));
  if (result.success) return result.data;
  throw new UnfoldError('bad-config', {
    where,
    expected: 'the config of a transcoder set: model_kind, feature_input_hook, feature_output_hook, …',
    found: z.prettifyError(result.error).replaceAll('\n', ' '),
    todo: 'mend the named keys',
  });
}

function parsed(text: string, where: string): unknown {
  try {
    return plainValue(parseYaml(text, where));
  } catch (error) {
    throw error instanceof UnfoldError ? new UnfoldError('bad-config', error.lesson) : error;
  }
}

/** The text of a config.yaml. */
export function tracerConfigText(config: TracerConfig): string {
  return stringify(config);
}

/** Hook names of layer `layer`, as TransformerLens spells them. */
export function hooksOfLayer(config: TracerConfig, layer: number) {
  return {
    hook_name: `blocks.${layer}.${config.feature_input_hook}`,
    hook_name_out: `blocks.${layer}.${config.feature_output_hook}`,
  };
}

/** What a coder's metadata keeps of the config. */
export function metadataOf({ model_name, scan }: TracerConfig): Record<string, unknown> {
  return { ...(model_name && { model_name }), ...(scan && { scan }) };
}
