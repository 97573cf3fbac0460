/**
 * @file What the exported cfg.json says about where a coder comes from: SAELens's metadata keys, which its evaluations and
 * dashboards read, from the manifest of the shards; and ours beside them under `unfold`.
 */

import type { CoderHooks } from '../coders/training.ts';
import { packageVersion } from '../package-version.ts';
import type { BlockSource } from '../shards/block-source.ts';
import { isShardSource } from '../shards/reader.ts';
import type { TrainSettings } from './settings.ts';

/** The part of a harvest's settings that metadata is made of. */
export interface RowsOrigin {
  model?: string;
  text?: Record<string, unknown>;
  seqpos_slice?: unknown;
  exclude_special_tokens?: unknown;
  /** Content hashes of model, tokeniser and corpus. */
  hashes?: Record<string, string>;
}

/** The origin that shards carry in their manifest; nothing for foreign folders and live sources. */
export function originOf(source: BlockSource): RowsOrigin {
  if (!isShardSource(source)) return {};
  const { settings, hashes } = source.manifest;
  return { ...(settings as RowsOrigin), hashes };
}

/** Metadata of a coder in training. */
export function coderMetadata(
  settings: TrainSettings,
  hooks: CoderHooks,
  origin: RowsOrigin,
  contentHash: string,
): Record<string, unknown> {
  return {
    training_architecture: settings.architecture,
    training_architecture_details: { ...settings.coder, decoder_init_norm: settings.decoder_init_norm },
    model_name: origin.model ? baseName(origin.model) : null,
    model_class_name: 'HookedTransformer',
    ...hookKeys(hooks),
    hook_head_index: null,
    model_from_pretrained_kwargs: {},
    ...packingKeys(origin),
    unfold: { version: packageVersion(), rows: contentHash, ...origin.hashes },
  };
}

/**
 * How the rows were made, under SAELens's keys and in their order; ours beside them where they change something. Null is a
 * value of some of them, so what is absent is told by the key. Of rows that were made elsewhere nothing of it is known.
 */
function packingKeys({ text, seqpos_slice, exclude_special_tokens }: RowsOrigin): Record<string, unknown> {
  if (!text) return { context_size: null, prepend_bos: null, dataset_path: null };
  const or = (key: string, other: unknown) => (Object.hasOwn(text, key) ? text[key] : other);
  const begin_sequence_token = or('begin_sequence_token', null);
  const special_tokens_in_text = or('special_tokens_in_text', false);
  return {
    context_size: or('context_size', null),
    seqpos_slice: seqpos_slice === undefined ? [null] : seqpos_slice,
    prepend_bos: or('prepend_bos', true),
    dataset_path: or('dataset', null),
    exclude_special_tokens: exclude_special_tokens === undefined ? false : exclude_special_tokens,
    sequence_separator_token: or('sequence_separator_token', 'bos'),
    disable_concat_sequences: or('disable_concat_sequences', false),
    ...(begin_sequence_token !== null && { begin_sequence_token }),
    ...(special_tokens_in_text !== false && { special_tokens_in_text }),
  };
}

/** SAELens's `hook_name` and, for transcoders, `hook_name_out`; lists of ours where several stand side by side. */
function hookKeys({ in: inputs, out }: CoderHooks): Record<string, unknown> {
  const names = (side: CoderHooks['in']) => side.map(({ name }) => name);
  if (inputs.length === 1) {
    return { hook_name: inputs[0]!.name, ...(out.length > 0 && { hook_name_out: out[0]!.name }) };
  }
  return {
    hook_name: null,
    hook_names: names(inputs),
    ...(out.length > 0 && { hook_names_out: names(out) }),
  };
}

/** `checkpoints/novels-4l/` → `novels-4l`; hub ids keep their owner. */
function baseName(model: string): string {
  const parts = model.split('/').filter(Boolean);
  return parts.length === 2 && !model.startsWith('.') && parts[0] !== 'checkpoints'
    ? model
    : (parts.at(-1) ?? model);
}
