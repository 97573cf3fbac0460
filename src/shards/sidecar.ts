/**
 * @file The sidecar of a shard, `data-NNNNN-of-NNNNN.json`: where each record batch lies (so that a block can be read
 * without the others), checksums, row counts and statistics. It is written after the shard has its final name: a shard
 * with a sidecar is finished.
 */
import { z } from 'zod';
import { UnfoldError } from '../errors.ts';
import { readSealed } from '../seal.ts';
import type { HookWidth } from './block-source.ts';
import type { HookStats } from './stats.ts';

const count = z.int().nonnegative();

const blockSchema = z.object({ offset: count, length: count, rows: count, crc32: count });

const statsSchema = z.object({
  mean_norm: z.number().nullable(),
  norm_sum: z.number(),
  sum: z.array(z.number()),
  sum_squares: z.array(z.number()),
});

const sidecarSchema = z.object({
  format: z.literal('unfold-shard-1'),
  file: z.string(),
  /** Hash of what determines the rows, as in the manifest. */
  content_hash: z.string(),
  /** Index of the first block of this shard in the whole harvest. */
  first_block: count,
  rows: count,
  bytes: count,
  /** Of the whole file, as `sha256sum` prints it. */
  sha256: z.string(),
  /** The schema message at the start of the file. */
  header: z.object({ length: count, crc32: count }),
  /** Where each record batch lies, with its CRC-32 (zlib's). */
  blocks: z.array(blockSchema),
  /** Per hook, over this shard's rows, from the float32 values. */
  statistics: z.record(z.string(), statsSchema),
});

/** See {@link sidecarSchema}'s fields. */
export type Sidecar = z.infer<typeof sidecarSchema>;
/** A record batch in a shard. */
export type BlockEntry = z.infer<typeof blockSchema>;

/** Reads and checks a sidecar. */
export async function readSidecar(path: string): Promise<Sidecar> {
  const todo = 'delete this file and run the same `unfold harvest` again: only this shard is made again';
  const parsed = sidecarSchema.safeParse(await readSealed(path, todo));
  if (parsed.success) return parsed.data;
  const found = z.prettifyError(parsed.error);
  throw new UnfoldError('bad-shard', {
    where: path,
    expected: 'the sidecar of a shard (unfold-shard-1)',
    found,
    todo,
  });
}

/** What in a sidecar cannot be true of a file of its `bytes` with these hooks, if anything. */
export function contradiction(
  { header, blocks, bytes, rows, statistics }: Sidecar,
  hooks: readonly HookWidth[],
): string | undefined {
  if (header.length > bytes) return `a header of ${header.length} bytes in a file of ${bytes}`;
  const beyond = blocks.findIndex(({ offset, length }) => offset + length > bytes);
  if (beyond >= 0) return `block ${beyond} beyond the file's ${bytes} bytes`;
  const sum = blocks.reduce((total, block) => total + block.rows, 0);
  if (sum !== rows) return `${sum} rows in the blocks and ${rows} in all`;
  const without = hooks.find(({ name, width }) => {
    const stats = Object.hasOwn(statistics, name) ? statistics[name] : undefined;
    return stats?.sum.length !== width || stats.sum_squares.length !== width;
  });
  return without && `no statistics of ${without.name} with ${without.width} dimensions`;
}

/** Statistics as a sidecar stores them. */
export function storedStats(stats: ReadonlyMap<string, HookStats>): Sidecar['statistics'] {
  const entries = [...stats].map(([name, { rows, norm_sum, sum, sum_squares }]) => [
    name,
    { mean_norm: rows ? norm_sum / rows : null, norm_sum, sum: [...sum], sum_squares: [...sum_squares] },
  ]);
  return Object.fromEntries(entries);
}

/** Sums the statistics of all shards, per hook. */
export function totalStats(sidecars: readonly Sidecar[]): Map<string, HookStats> {
  const total = new Map<string, HookStats>();
  for (const { rows, statistics } of sidecars) {
    for (const [name, shard] of Object.entries(statistics)) {
      const width = shard.sum.length;
      const into = total.get(name) ?? {
        rows: 0,
        norm_sum: 0,
        sum: new Float64Array(width),
        sum_squares: new Float64Array(width),
      };
      into.rows += rows;
      into.norm_sum += shard.norm_sum;
      for (let j = 0; j < width; j++) {
        into.sum[j] = into.sum[j]! + shard.sum[j]!;
        into.sum_squares[j] = into.sum_squares[j]! + shard.sum_squares[j]!;
      }
      total.set(name, into);
    }
  }
  return total;
}
