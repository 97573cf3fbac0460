/**
 * @file The inner loop: the blocks of one shard. While the model computes a block, the block before it is being written;
 * two sets of buffers take turns, so memory is bounded by two blocks whatever the size of the harvest.
 */
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import type { ActivationBlock } from '../shards/block-source.ts';
import type { ShardDtype } from '../shards/schema.ts';
import { emptyBatch } from '../shards/shuffle.ts';
import type { Sidecar } from '../shards/sidecar.ts';
import { ShardWriter } from '../shards/writer.ts';
import type { BlockForward } from './forward.ts';
import type { PlannedShard } from './plan.ts';
import { unsoundActivation } from './unsound.ts';

/** Room for one block, and the write that still uses it. */
interface BlockBuffer {
  block: ActivationBlock;
  halves: Map<string, Uint16Array> | undefined;
  busy: Promise<void>;
}

/** The two sets of buffers of a harvest. */
export type BlockBuffers = readonly [BlockBuffer, BlockBuffer];

/** What the loop works with. */
export interface ShardJob {
  forward: BlockForward;
  buffers: BlockBuffers;
  dtype: ShardDtype;
  context: StageContext;
  /** Told how many tokens went through the model. */
  progress(tokens: number): void;
}

/** Buffers that hold the largest block. */
export function blockBuffers({ hooks, blockRows }: BlockForward, dtype: ShardDtype): BlockBuffers {
  const rows = blockRows.reduce((most, n) => Math.max(most, n), 0);
  const one = (): BlockBuffer => ({
    block: emptyBatch(hooks, rows),
    halves:
      dtype === 'float16'
        ? new Map(hooks.map(({ name, width }) => [name, new Uint16Array(rows * width)]))
        : undefined,
    busy: Promise.resolve(),
  });
  return [one(), one()];
}

/** Makes one shard; on any error, or when told to stop, nothing of it is left behind. */
export async function harvestShard(path: string, shard: PlannedShard, job: ShardJob): Promise<Sidecar> {
  const { forward, dtype } = job;
  const { firstBlock } = shard;
  const writer = await ShardWriter.create(path, {
    hooks: forward.hooks,
    dtype,
    contentHash: forward.contentHash,
    firstBlock,
  });
  try {
    for (let block = firstBlock; block < firstBlock + shard.blocks; block++) {
      if (job.context.signal.aborted) throw stopped(path);
      await appendBlock(writer, block, job);
      job.progress(forward.tokenCount(block));
    }
    return await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

async function appendBlock(
  writer: ShardWriter,
  index: number,
  { forward, buffers }: ShardJob,
): Promise<void> {
  const buffer = buffers[index % 2]!;
  await buffer.busy;
  const block = await forward.compute(index, buffer.block);
  const appended = writer.append(block, buffer.halves);
  if ('unsound' in appended) throw unsoundActivation(forward, index, appended.unsound);
  buffer.busy = appended.written;
  appended.written.catch(() => undefined);
}

function stopped(path: string): UnfoldError {
  return new UnfoldError('stopped', {
    where: path,
    expected: 'to go on',
    found: 'a request to stop; the shard in hand is dropped, finished ones are kept',
    todo: 'run the same command again: it goes on with this shard',
  });
}
