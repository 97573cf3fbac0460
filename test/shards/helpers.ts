/** @file Small sources and folders of shards for the tests. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeJson } from '../../src/files.ts';
import type { ActivationBlock, BlockSource, HookWidth } from '../../src/shards/block-source.ts';
import { type Manifest, writeManifest } from '../../src/shards/manifest.ts';
import { datasetInfo, datasetState, type ShardDtype, shardName } from '../../src/shards/schema.ts';
import { ShardWriter } from '../../src/shards/writer.ts';

/** A new empty folder. */
export const folder = (): Promise<string> => mkdtemp(join(tmpdir(), 'unfold-shards-'));

/** A block whose numbers say where they come from: hook h, block b, row r, dimension j -> h + 10 b + r + j / 8. */
export function block(hooks: readonly HookWidth[], index: number, rows: number): ActivationBlock {
  const values = (hook: number, width: number) =>
    Float32Array.from(
      { length: rows * width },
      (_, i) => hook + 10 * index + Math.floor(i / width) + (i % width) / 8,
    );
  return {
    rows,
    activations: new Map(hooks.map(({ name, width }, hook) => [name, values(hook, width)])),
    tokenId: Int32Array.from({ length: rows }, (_, row) => 100 * index + row),
    seqId: Uint32Array.from({ length: rows }, () => index),
    pos: Uint16Array.from({ length: rows }, (_, row) => row),
  };
}

/** Blocks of {@link block} in memory; counts how often each is read and how many rows are out at most. */
export function memorySource(
  blockRows: readonly number[],
  hooks: readonly HookWidth[],
): BlockSource & { reads: number[] } {
  const reads = blockRows.map(() => 0);
  return {
    hooks,
    blockRows,
    contentHash: 'memory',
    reads,
    async readBlock(index) {
      reads[index] = reads[index]! + 1;
      return block(hooks, index, blockRows[index]!);
    },
    async close() {},
  };
}

/** Writes blocks as a finished folder of shards, two blocks a shard. */
export async function writeShards(
  dir: string,
  hooks: HookWidth[],
  dtype: ShardDtype,
  blockRows: number[],
): Promise<Manifest> {
  const count = Math.ceil(blockRows.length / 2);
  const shards: Manifest['shards'] = [];
  for (let index = 0; index < count; index++) {
    const file = shardName(index, count);
    const options = { hooks, dtype, contentHash: 'c0ffee', firstBlock: 2 * index };
    const writer = await ShardWriter.create(join(dir, file), options);
    for (let b = 2 * index; b < Math.min(2 * index + 2, blockRows.length); b++) {
      const appended = writer.append(block(hooks, b, blockRows[b]!));
      if ('written' in appended) await appended.written;
    }
    const { blocks, first_block, rows, bytes, sha256 } = await writer.finish();
    shards.push({ file, first_block, blocks: blocks.length, rows, bytes, sha256 });
  }
  await writeJson(join(dir, 'dataset_info.json'), datasetInfo(hooks, dtype, ''));
  await writeJson(
    join(dir, 'state.json'),
    datasetState(
      shards.map(({ file }) => file),
      'c0ffee',
    ),
  );
  const manifest: Manifest = {
    format: 'unfold-shards-1',
    unfold: '0',
    complete: true,
    content_hash: 'c0ffee',
    hashes: { model: 'm', tokenizer: 't', corpus: 'c' },
    hooks,
    dtype,
    settings: {},
    rows: blockRows.reduce((a, b) => a + b, 0),
    blocks: blockRows.length,
    shard_count: count,
    blocks_per_shard: 2,
    mean_norm: {},
    shards,
  };
  await writeManifest(dir, manifest);
  return manifest;
}
