/**
 * @file The settings of a harvest: which model, which text, which hook points, which rows, how stored. One documented
 * schema is the flag list of `unfold harvest`, the file behind `--config`, the pipeline's `harvest:` section and what
 * the manifest records. Names are SAELens's where it has the setting; float32 is the default, as there, because rows
 * are then exactly what the model computed (float16 halves the disk at a relative error of at most 2^-11 per number).
 */
import { z } from 'zod';
import { corpusSpecSchema } from '../text/spec.ts';

/** What decides the rows and their files. */
export const harvestSchema = z.strictObject({
  model: z.string().min(1).describe('a Hugging Face GPT-2 folder or hub id'),
  text: corpusSpecSchema.describe('which tokens the model sees'),
  hook_names: z
    .array(z.string().min(1))
    .min(1)
    .refine((names) => new Set(names).size === names.length, 'every hook point once')
    .describe(
      "TransformerLens's hook points, by name or glob (blocks.*.hook_mlp_out), all in one forward pass",
    ),
  dtype: z
    .enum(['float16', 'float32', 'bfloat16'])
    .default('float32')
    .describe(
      'float32: as computed; float16: stored in half the space; bfloat16: the model multiplies in bfloat16, several times faster on a processor with a unit for it, rows stored as float16, and the deviation is measured',
    ),
  batch_contexts: z
    .int()
    .positive()
    .default(32)
    .describe('contexts in one forward pass (= one record batch)'),
  exclude_special_tokens: z
    .union([z.boolean(), z.array(z.int().nonnegative())])
    .default(true)
    .describe("leave out rows at the tokeniser's special tokens (true), or at these token ids"),
  seqpos_slice: z
    .array(z.int().nullable())
    .min(1)
    .max(3)
    .default([null])
    .describe("positions of a context that give rows, as Python's slice(*seqpos_slice)"),
  shard_rows: z
    .int()
    .positive()
    .default(131_072)
    .describe('rows in a shard, about (a shard is a whole number of blocks)'),
});

/** What a user writes: `model`, `text.dataset` and `hook_names` are enough. */
export type HarvestSettings = z.input<typeof harvestSchema>;
/** With every default filled in. */
export type ResolvedHarvestSettings = z.output<typeof harvestSchema>;

/** How rows are stored and how they are computed, from the one setting that says both. */
export function precisionOf(dtype: ResolvedHarvestSettings['dtype']): {
  stored: 'float16' | 'float32';
  compute: 'float32' | 'bfloat16';
} {
  return dtype === 'bfloat16'
    ? { stored: 'float16', compute: 'bfloat16' }
    : { stored: dtype, compute: 'float32' };
}
