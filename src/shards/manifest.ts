/**
 * @file `manifest.json` of a harvest: what the rows are, by content hash, and which files hold them. It is there from
 * the start (`complete: false`), so that a rerun with other settings is noticed before anything is mixed; the list of
 * shards is filled in when the last one is finished. No times, no machine names: equal harvests have equal manifests.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../errors.ts';
import { exists, hashOf, readJson } from '../files.ts';
import { fileRecordSchema } from '../inventory.ts';
import { requireSeal, writeSealed } from '../seal.ts';

const shardSchema = z.object({
  file: z.string(),
  first_block: z.int(),
  blocks: z.int(),
  rows: z.int(),
  bytes: z.int(),
  sha256: z.string(),
});

/** How far bfloat16 products took rows from float32's, over one block. */
const deviationSchema = z.object({
  /** Mean and largest ||x~ - x|| / ||x|| of a row. */
  mean_relative_error: z.number(),
  max_relative_error: z.number(),
  /** Smallest cosine between x~ and x. */
  min_cosine: z.number(),
  /** Σ ||x~ - x||² / Σ ||x - mean||²: the share of variance that is error. */
  variance_share: z.number(),
});
export type Deviation = z.infer<typeof deviationSchema>;

const manifestSchema = z.object({
  format: z.literal('unfold-shards-1'),
  /** Version of Unfold that started the harvest. */
  unfold: z.string(),
  complete: z.boolean(),
  /** Hash of everything that determines the rows (hashes, hooks, dtype and the settings that matter). */
  content_hash: z.string(),
  /** SHA-256 of the model's weights and configuration, of the tokeniser and of the token contexts. */
  hashes: z.object({ model: z.string(), tokenizer: z.string(), corpus: z.string() }),
  hooks: z.array(z.object({ name: z.string(), width: z.int().positive() })),
  dtype: z.enum(['float16', 'float32']),
  /** Deviation from float32 where the model multiplied in bfloat16, per hook: see harvest/deviation.ts. */
  deviation: z.record(z.string(), deviationSchema).optional(),
  /** The harvest's settings, so that a person can see and repeat them. */
  settings: z.record(z.string(), z.unknown()),
  rows: z.int(),
  blocks: z.int(),
  /** How many files there are, and how many blocks each but the last holds. */
  shard_count: z.int(),
  blocks_per_shard: z.int(),
  /** Per hook, over all rows, from the float32 values; filled in at the end. */
  mean_norm: z.record(z.string(), z.number().nullable()),
  shards: z.array(shardSchema),
  /** The other files of the folder: sidecars, and those of a `datasets` folder. Not in manifests of earlier versions. */
  files: z.array(fileRecordSchema).optional(),
  /** See seal.ts. */
  seal: z.string().optional(),
});

/** See {@link manifestSchema}'s fields. */
export type Manifest = z.infer<typeof manifestSchema>;

/** The name of the manifest in a folder of shards. */
export const MANIFEST = 'manifest.json';

/**
 * The manifest in `dir`, or nothing if there is none.
 * @param use to `go on` with the harvest its checksum must hold; to read rows, where it is not finished nothing is read by it
 * @throws UnfoldError `bad-manifest`, `bad-json`, `damaged`
 */
export async function readManifest(dir: string, use?: 'go on'): Promise<Manifest | undefined> {
  const path = join(dir, MANIFEST);
  if (!(await exists(path))) return undefined;
  const todo = `choose another folder; or, if this is the one, delete ${path} and run the same \`unfold harvest\` again: finished shards are kept`;
  const json = await readJson(path, todo);
  const parsed = manifestSchema.safeParse(json);
  if (parsed.success) {
    if (parsed.data.complete || use === 'go on') requireSeal(json, path, todo);
    return parsed.data;
  }
  throw new UnfoldError('bad-manifest', {
    where: path,
    expected: 'the manifest of a harvest (unfold-shards-1)',
    found: z.prettifyError(parsed.error),
    todo,
  });
}

/** Writes the manifest atomically, sealed. */
export const writeManifest = (dir: string, manifest: Manifest): Promise<void> =>
  writeSealed(join(dir, MANIFEST), manifest);

/** What determines the rows, from which the content hash is made. */
export type RowIdentity = Pick<Manifest, 'hashes' | 'hooks' | 'dtype'> & {
  context_size: number;
  batch_contexts: number;
  exclude_token_ids: readonly number[];
  positions: readonly number[];
  /** Only where it is not float32. */
  compute?: 'bfloat16';
};

/** The content hash of rows: equal for shards and a live source of the same settings. */
export const contentHashOf = (identity: RowIdentity): string =>
  hashOf({ format: 'unfold-rows-1', ...identity });

/**
 * The new harvest must be the one that was begun in this folder.
 * @throws UnfoldError `settings-differ`, naming every entry that differs
 */
export function checkSameHarvest(dir: string, old: Manifest, now: Manifest): void {
  const differences = [...differing(comparable(old), comparable(now))];
  if (!differences.length) return;
  throw new UnfoldError('settings-differ', {
    where: join(dir, MANIFEST),
    expected: `the harvest begun here: ${differences.map((d) => `${d.key} ${d.old}`).join(', ')}`,
    found: `a harvest with ${differences.map((d) => `${d.key} ${d.now}`).join(', ')}`,
    todo: 'choose another --out, use the old settings, or delete the folder',
  });
}

function comparable({ hashes, hooks, dtype, settings, shard_count, blocks_per_shard, rows }: Manifest) {
  const names = hooks.map(({ name, width }) => `${name}[${width}]`).join(' ');
  const files = { shard_count, blocks_per_shard, rows };
  return {
    ...settings,
    model_hash: hashes.model,
    tokenizer_hash: hashes.tokenizer,
    corpus_hash: hashes.corpus,
    hooks: names,
    dtype,
    ...files,
  };
}

function* differing(old: Record<string, unknown>, now: Record<string, unknown>) {
  for (const key of new Set([...Object.keys(old), ...Object.keys(now)])) {
    const [a, b] = [JSON.stringify(old[key]), JSON.stringify(now[key])];
    if (a !== b) yield { key, old: a, now: b };
  }
}
