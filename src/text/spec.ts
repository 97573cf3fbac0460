/**
 * @file The settings that decide which tokens a run sees: dataset, columns, packing, order, part. One documented
 * schema is the flag list, the pipeline's `text:` section and what manifests record. Names are SAELens's
 * (`LanguageModelSAERunnerConfig`, `PretokenizeRunnerConfig`) where it has the setting.
 */
import { z } from 'zod';

const tokenChoice = z.union([z.enum(['bos', 'eos']), z.int().nonnegative(), z.null()]);

/** Settings of a corpus. `z.input` of it is what users write, `z.output` what is recorded. */
export const corpusSpecSchema = z.strictObject({
  dataset: z
    .string()
    .min(1)
    .describe('a file, a folder, a glob, or the name of a folder in datasets/ with a manifest (novels)'),
  format: z
    .enum(['auto', 'text', 'jsonl', 'csv', 'tsv', 'arrow', 'parquet'])
    .default('auto')
    .describe('how the files are read; auto goes by their endings (.gz is looked through)'),
  text_column: z
    .string()
    .min(1)
    .default('text')
    .describe('column of JSONL, CSV, Arrow and Parquet that holds the text'),
  tokens_column: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'column that holds token ids; by default tokens, input_ids or token_ids where there is no text column',
    ),
  document_separator: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('plain text only: this string ends a document (default: a file is one document)'),
  context_size: z.int().min(1).default(128).describe('tokens in a context, BOS included'),
  prepend_bos: z.boolean().default(true).describe('every context begins with the BOS token'),
  begin_sequence_token: tokenChoice.default(null).describe('put in front of every document'),
  sequence_separator_token: tokenChoice.default('bos').describe('put between documents that share a context'),
  disable_concat_sequences: z
    .boolean()
    .default(false)
    .describe('one context a document; documents shorter than a context are left out'),
  repack: z
    .boolean()
    .default(false)
    .describe('token rows are documents to be packed (default: every row is a context already)'),
  special_tokens_in_text: z
    .boolean()
    .default(false)
    .describe('<|endoftext|> written in a document is the special token instead of ordinary text'),
  pool_tokens: z
    .int()
    .positive()
    .nullable()
    .default(null)
    .describe(
      'read only so many tokens of the dataset, from its beginning (default: all); contexts are drawn from these',
    ),
  shuffle: z
    .boolean()
    .default(true)
    .describe('contexts in seeded random order (false: in the order of the dataset)'),
  seed: z
    .int()
    .nonnegative()
    .default(42)
    .describe('of the shuffle; two parts of one dataset are disjoint only under one seed'),
  skip_contexts: z
    .int()
    .nonnegative()
    .default(0)
    .describe('leave out so many contexts at the beginning of the order'),
  max_contexts: z.int().positive().nullable().default(null).describe('use at most so many contexts'),
  max_tokens: z
    .int()
    .positive()
    .nullable()
    .default(null)
    .describe('use at most so many tokens (rounded down to whole contexts)'),
});

/** What a user writes: everything but `dataset` has a default. */
export type CorpusSpec = z.input<typeof corpusSpecSchema>;
/** With every default filled in. */
export type ResolvedCorpusSpec = z.output<typeof corpusSpecSchema>;

/** The text settings that say how documents become contexts: what a coder was trained on, it is evaluated on. */
export const PACKING = [
  'context_size',
  'prepend_bos',
  'begin_sequence_token',
  'sequence_separator_token',
  'disable_concat_sequences',
  'special_tokens_in_text',
] as const satisfies readonly (keyof ResolvedCorpusSpec)[];

/** Settings of a text without their defaults: what was not said stays unsaid, and null is what it means. */
export const textChangesSchema = z.strictObject(
  withoutDefaults(corpusSpecSchema.omit({ dataset: true }).shape),
);

/** Settings of a text that stand over others. */
export type TextChanges = Partial<Omit<CorpusSpec, 'dataset'>>;

function withoutDefaults(shape: Record<string, z.ZodType>): Record<string, z.ZodType> {
  const bare = (schema: z.ZodType) =>
    schema instanceof z.ZodDefault ? (schema.unwrap() as z.ZodType) : schema;
  return Object.fromEntries(Object.entries(shape).map(([key, schema]) => [key, bare(schema).optional()]));
}
