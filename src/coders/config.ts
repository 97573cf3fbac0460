/**
 * @file A coder's settings as they stand in cfg.json: the keys and meanings of SAELens v6 (`sae_lens/saes/sae.py`), which
 * every architecture shares. An architecture extends the schema with its own keys (`k`, …); keys nobody knows are kept,
 * so that reading and writing a file loses nothing.
 */
import { z } from 'zod';

/** How rows are normalised before the encoder and undone after the decoder. */
export const NORMALIZATIONS = [
  'none',
  'expected_average_only_in',
  'constant_norm_rescale',
  'layer_norm',
  'covariance_whitening',
] as const;
export type Normalization = (typeof NORMALIZATIONS)[number];

/** Storage types of weights; all computing is in float32. */
export const DTYPES = ['float32', 'float16', 'bfloat16'] as const;

const count = z.int().positive();

/** The keys every cfg.json shares. */
export const coderConfig = z.looseObject({
  architecture: z.string(),
  /** Width of a row, heads flattened. */
  d_in: count,
  /** Width of a reconstructed row: `d_in` unless the coder predicts another activation (transcoders). */
  d_out: count.optional(),
  /** Number of latents. */
  d_sae: count,
  dtype: z.string().default('float32'),
  /** Whether the encoder sees `x - b_dec`. */
  apply_b_dec_to_input: z.boolean().default(true),
  normalize_activations: z.enum(NORMALIZATIONS).default('none'),
  /** `hook_z`: rows come as [..., heads, d_head] and are flattened to `d_in`. */
  reshape_activations: z.enum(['none', 'hook_z']).default('none'),
  /** Where the rows came from: model_name, hook_name, context_size, prepend_bos, dataset_path, … */
  metadata: z.record(z.string(), z.unknown()).default({}),
});
export type CoderConfig = z.infer<typeof coderConfig>;

/** Width of what the coder puts out. */
export function outputWidth(cfg: CoderConfig): number {
  return cfg.d_out ?? cfg.d_in;
}
