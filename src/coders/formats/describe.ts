/**
 * @file What a source of coders holds, in facts for `unfold info`: from headers and settings, with the SHA-256 of every
 * file. Tensors are read one at a time, for a look at whether all numbers are finite.
 */
import { sha256File } from '../../files.ts';
import { unsoundTensors } from '../../model/finite.ts';
import { openSafetensors } from '../../model/safetensors.ts';
import { openStateDict } from '../../pickle/state-dict.ts';
import { outputWidth } from '../config.ts';
import { architectureNamed } from '../registry.ts';
import type { CoderEntry, CoderSource } from './format.ts';

/** One coder in facts. */
export type CoderFacts = Record<string, unknown> & { name: string; architecture: string };

/** A source in facts: one coder's beside the format's, or a list of several. */
export async function describeSource(source: CoderSource): Promise<Record<string, unknown>> {
  const { format, path, about } = source;
  const coders = await Promise.all(source.entries.map(factsOf));
  if (source.kind === 'coder') {
    const { name: _name, ...facts } = coders[0]!;
    return { kind: 'coder', path, format, ...facts };
  }
  return { kind: 'coders', path, format, ...(about && { settings: about }), coders };
}

async function factsOf(entry: CoderEntry): Promise<CoderFacts> {
  const { cfg, tensors, files } = entry;
  const { metadata } = cfg;
  const warnings = [...entry.warnings, ...(await unsoundOf(entry))];
  const hashes = await Promise.all(files.map(async (file) => [file, await sha256File(file)]));
  return {
    name: entry.name,
    architecture: cfg.architecture,
    about: architectureNamed(cfg.architecture, entry.name).about,
    layer: entry.layer,
    d_in: cfg.d_in,
    d_out: outputWidth(cfg),
    d_sae: cfg.d_sae,
    n_layers: cfg.n_layers,
    k: cfg.k,
    dtype: cfg.dtype,
    normalize_activations: cfg.normalize_activations,
    apply_b_dec_to_input: cfg.apply_b_dec_to_input,
    model_name: metadata.model_name,
    hook_name: metadata.hook_name ?? metadata.hook_names,
    hook_name_out: metadata.hook_name_out ?? metadata.hook_names_out,
    context_size: metadata.context_size,
    dataset_path: metadata.dataset_path,
    l0: metadata.l0,
    num_dead_features: metadata.num_dead_features,
    sae_lens_version: metadata.sae_lens_version,
    imported_from: metadata.imported_from,
    parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    tensors: tensors.map(({ name, dtype, shape }) => `${name} ${dtype} [${shape.join(', ')}]`),
    sha256: Object.fromEntries(hashes) as Record<string, string>,
    notes: entry.notes.length ? entry.notes : undefined,
    warnings: warnings.length ? warnings : undefined,
  };
}

/** Weights that are not finite: with them the coder is described, but not loaded. */
async function unsoundOf({ files, unread = [] }: CoderEntry): Promise<string[]> {
  const found: string[] = [];
  for (const file of files) {
    const source = await (/\.safetensors$/.test(file) ? openSafetensors(file) : openStateDict(file));
    try {
      found.push(...(await unsoundTensors(source, (name) => !unread.includes(name))));
    } finally {
      await source.close();
    }
  }
  return found.map((words) => `${words} cannot be computed with: this coder cannot be run`);
}
