/**
 * @file What a harvest will do, known before the model computes anything: how many rows each block and shard gets, which
 * files they go to, how many bytes that is and whether the disk has them.
 */
import { statfs } from 'node:fs/promises';
import { UnfoldError } from '../errors.ts';
import type { ShardRange } from '../lock.ts';
import type { HookWidth } from '../shards/block-source.ts';
import { rowBytes, type ShardDtype, shardName } from '../shards/schema.ts';

/** One file of the harvest. */
export interface PlannedShard {
  index: number;
  file: string;
  firstBlock: number;
  blocks: number;
  rows: number;
  /** About; Arrow's headers are small and estimated. */
  bytes: number;
}

/** All files of the harvest. */
export interface HarvestPlan {
  rows: number;
  blocks: number;
  blocksPerShard: number;
  /** Estimated bytes of all shards. */
  bytes: number;
  shards: readonly PlannedShard[];
}

/** Bytes that a record batch and a sidecar add, about. */
const BLOCK_OVERHEAD = 1024;
const SHARD_OVERHEAD = 4096;
/** Bytes of two float64 sums per dimension in a sidecar's JSON. */
const STATISTICS_BYTES = 2 * 24;

/** What the plan depends on. */
export interface PlanOptions {
  hooks: readonly HookWidth[];
  dtype: ShardDtype;
  /** Rows of each block. */
  blockRows: readonly number[];
  /** Rows that a full block would have with no token left out. */
  fullBlockRows: number;
  /** Rows wanted in a shard. */
  shardRows: number;
}

/** Lays blocks out in shards. A shard is a whole number of blocks, the same in all but the last. */
export function planHarvest({ hooks, dtype, blockRows, fullBlockRows, shardRows }: PlanOptions): HarvestPlan {
  const blocksPerShard = Math.max(1, Math.round(shardRows / fullBlockRows));
  const count = Math.ceil(blockRows.length / blocksPerShard);
  const fixed = SHARD_OVERHEAD + hooks.reduce((sum, { width }) => sum + width * STATISTICS_BYTES, 0);
  const shards = Array.from({ length: count }, (_, index): PlannedShard => {
    const firstBlock = index * blocksPerShard;
    const own = blockRows.slice(firstBlock, firstBlock + blocksPerShard);
    const rows = own.reduce((sum, n) => sum + n, 0);
    const bytes = rows * rowBytes(hooks, dtype) + own.length * BLOCK_OVERHEAD + fixed;
    return { index, file: shardName(index, count), firstBlock, blocks: own.length, rows, bytes };
  });
  const total = (key: 'rows' | 'bytes') => shards.reduce((sum, shard) => sum + shard[key], 0);
  const plan = {
    rows: total('rows'),
    blocks: blockRows.length,
    blocksPerShard,
    bytes: total('bytes'),
    shards,
  };
  if (plan.rows) return plan;
  throw new UnfoldError('no-rows', {
    where: 'the harvest',
    expected: 'at least one row',
    found: 'none: the text is shorter than a context, or every token is left out',
    todo: 'use more text or a smaller context_size; --no-exclude-special-tokens keeps special tokens',
  });
}

/** `3..7`, `3..` or `3` as a range of shards. @throws UnfoldError `bad-setting` */
export function parseShardRange(text: string | undefined, count: number): ShardRange {
  if (text === undefined) return { first: 0, last: count - 1 };
  const match = /^(\d+)(\.\.(\d*))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = match?.[2] === undefined ? first : match[3] ? Number(match[3]) : count - 1;
  if (match && first <= last && last < count) return { first, last };
  throw new UnfoldError('bad-setting', {
    where: `--shards ${text}`,
    expected: `a range such as 0..${count - 1} within this harvest's ${count} shards (both ends included)`,
    found: match ? `${first} to ${last}` : 'something else',
    todo: 'leave it out to make all shards',
  });
}

/** @throws UnfoldError `disk-full` before anything is written, if the file system has less than `bytes` free. */
export async function checkDisk(dir: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  const free = bavail * bsize;
  if (bytes <= free) return;
  throw new UnfoldError('disk-full', {
    where: dir,
    expected: `${gigabytes(bytes)} free for the shards that are still to be made`,
    found: `${gigabytes(free)} free`,
    todo: 'free space, choose another --out, use --dtype float16 or a smaller --max-tokens; --force starts all the same',
  });
}

/** `1.5 GB`, `12 MB`. */
export function gigabytes(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${Math.ceil(bytes / 1e6)} MB` : `${Math.ceil(bytes / 1e3)} kB`;
}
