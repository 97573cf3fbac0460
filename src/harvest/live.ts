/**
 * @file A {@link BlockSource} without a disk: each block is computed when it is asked for. Rows are those that the
 * harvest would have written, to the last bit, float16 rounding included, so a trainer cannot tell the two apart.
 */

import type { ActivationBlock, BlockSource, HookWidth } from '../shards/block-source.ts';
import { fromHalf, HALF_OVERFLOW, toHalf } from '../shards/float16.ts';
import type { Corpus } from '../text/contexts.ts';
import { BlockForward, type ForwardOptions, type HookedModel } from './forward.ts';
import { unsoundActivation } from './unsound.ts';

/** Rows of a model on a corpus, computed on demand. The model stays the caller's. */
export function liveSource(model: HookedModel, corpus: Corpus, options: ForwardOptions): BlockSource {
  return new LiveSource(new BlockForward(model, corpus, options), options);
}

class LiveSource implements BlockSource {
  readonly hooks: readonly HookWidth[];
  readonly blockRows: readonly number[];
  readonly contentHash: string;
  readonly #forward: BlockForward;
  readonly #options: ForwardOptions;
  /** One forward pass at a time: two would need twice the memory and be no faster. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(forward: BlockForward, options: ForwardOptions) {
    this.#forward = forward;
    this.#options = options;
    this.hooks = forward.hooks;
    this.blockRows = forward.blockRows;
    this.contentHash = forward.contentHash;
  }

  readBlock(index: number): Promise<ActivationBlock> {
    const block = this.#queue.then(() => this.#compute(index));
    this.#queue = block.catch(() => undefined);
    return block;
  }

  async close(): Promise<void> {
    await this.#queue;
  }

  async #compute(index: number): Promise<ActivationBlock> {
    const block = await this.#forward.compute(index);
    for (const { name, width } of this.hooks) {
      const values = block.activations.get(name)!;
      const half = this.#options.dtype === 'float16';
      const bad = firstUnsound(values, half ? HALF_OVERFLOW : Number.POSITIVE_INFINITY);
      if (bad >= 0) {
        const place = { row: Math.floor(bad / width), dimension: bad % width, value: values[bad]! };
        throw unsoundActivation(this.#forward, index, { hook: name, ...place });
      }
      if (half) fromHalf(toHalf(values), values);
    }
    return block;
  }
}

function firstUnsound(values: Float32Array, limit: number): number {
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]!) < limit)) return i;
  return -1;
}
