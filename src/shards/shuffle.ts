/**
 * @file Rows in random order, each exactly once per epoch, in bounded memory: what training reads. A position is one
 * integer, the number of rows consumed so far, running on over epochs; reading from a position gives the same rows
 * whenever it is asked (windows.ts says why). Blocks of the next window are fetched while the current one is consumed,
 * a few at a time, in step with the consumption. SAELens's shards lie on disk unshuffled (its issue #612) and its
 * sequence-shaped rows cannot be mixed row by row (#391); this is the answer to both.
 */
import { UnfoldError } from '../errors.ts';
import type { ActivationBlock, BlockSource, HookWidth } from './block-source.ts';
import { type Window, WindowPlan } from './windows.ts';

/** Some rows in the shuffled order. */
export interface RowBatch {
  rows: number;
  /** Per hook: [rows, width]. */
  activations: Map<string, Float32Array>;
  tokenId: Int32Array;
  seqId: Uint32Array;
  pos: Uint16Array;
}

/** A stream of shuffled rows with random access by position. */
export interface RowStream {
  /** Rows in one epoch. */
  readonly rows: number;
  readonly hooks: readonly HookWidth[];
  /** What the order depends on besides the rows. */
  readonly seed: number;
  readonly bufferRows: number;
  /**
   * The `count` rows at `position`, always full: it runs on into the next epoch, whose order is another one.
   * Calls are answered in the order they were made.
   * @param into a batch of the same size to be filled again instead of a new one
   */
  read(position: number, count: number, into?: RowBatch): Promise<RowBatch>;
  /** Closes the source, too. */
  close(): Promise<void>;
}

/** How rows are shuffled. */
export interface ShuffleOptions {
  seed: number;
  /** Rows in memory, the window in use and the next one together; default {@link defaultBufferRows}. */
  bufferRows?: number;
  /** False: blocks are fetched only when their window begins (for tests). */
  prefetch?: boolean;
}

/** Memory of the default buffer, bytes. */
const BUFFER_BYTES = 384 * 2 ** 20;

/** 262,144 rows, or as many as 384 MiB hold. */
export function defaultBufferRows(hooks: readonly HookWidth[]): number {
  const bytes = hooks.reduce((sum, { width }) => sum + 4 * width, 10);
  return Math.min(262_144, Math.max(1, Math.floor(BUFFER_BYTES / bytes)));
}

/** Shuffles the rows of a source. @throws UnfoldError `no-rows` if it has none */
export function shuffledRows(source: BlockSource, options: ShuffleOptions): RowStream {
  return new ShuffledRows(source, options);
}

class ShuffledRows implements RowStream {
  readonly rows: number;
  readonly hooks: readonly HookWidth[];
  readonly seed: number;
  readonly bufferRows: number;
  readonly #source: BlockSource;
  readonly #plan: WindowPlan;
  readonly #prefetch: boolean;
  /** Blocks of the current and the next window; a block in both is kept, not read twice. */
  #blocks = new Map<number, Promise<ActivationBlock>>();
  #current:
    | {
        window: Window;
        order: Uint32Array;
        blocks: ActivationBlock[];
        blockOf: Uint32Array;
        starts: number[];
      }
    | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(source: BlockSource, { seed, bufferRows, prefetch = true }: ShuffleOptions) {
    this.#source = source;
    this.hooks = source.hooks;
    this.seed = seed;
    this.bufferRows = bufferRows ?? defaultBufferRows(source.hooks);
    this.#prefetch = prefetch;
    const rows = source.blockRows.reduce((sum, n) => sum + n, 0);
    if (!rows) {
      throw new UnfoldError('no-rows', {
        where: 'activation rows',
        expected: 'at least one row',
        found: 'none: every token is left out as special or by seqpos_slice, or the text is empty',
        todo: 'use more text, or --no-exclude-special-tokens',
      });
    }
    // If everything fits, one window holds it all and consecutive epochs share the blocks; else two windows share it.
    const windowRows = rows <= this.bufferRows ? rows : Math.max(1, Math.floor(this.bufferRows / 2));
    this.#plan = new WindowPlan(source.blockRows, seed, windowRows);
    this.rows = this.#plan.rows;
  }

  read(position: number, count: number, into?: RowBatch): Promise<RowBatch> {
    const answer = this.#queue.then(() => this.#fill(position, into ?? emptyBatch(this.hooks, count)));
    this.#queue = answer.catch(() => undefined);
    return answer;
  }

  async close(): Promise<void> {
    await this.#queue;
    await Promise.allSettled(this.#blocks.values());
    this.#blocks.clear();
    await this.#source.close();
  }

  async #fill(position: number, batch: RowBatch): Promise<RowBatch> {
    for (let done = 0; done < batch.rows; ) {
      const at = position + done;
      const window = this.#plan.at(at);
      await this.#enter(window);
      const first = (at % this.rows) - window.start;
      const count = Math.min(batch.rows - done, window.rows - first);
      this.#gather(first, count, batch, done);
      done += count;
      if (this.#prefetch) this.#fetchNext(window, first + count);
    }
    return batch;
  }

  /** Makes a window the current one: drops what it does not need, fetches what it lacks. */
  async #enter(window: Window): Promise<void> {
    const { window: now } = this.#current ?? {};
    if (now && now.epoch === window.epoch && now.index === window.index) return;
    this.#current = undefined;
    const needed = new Set(window.blocks);
    this.#blocks = new Map([...this.#blocks].filter(([index]) => needed.has(index)));
    const blocks: ActivationBlock[] = [];
    for (const index of window.blocks) blocks.push(await this.#block(index));
    const { blockOf, starts } = rowIndex(blocks, window.rows);
    this.#current = { window, order: this.#plan.order(window), blocks, blockOf, starts };
  }

  /** Keeps the next window's share of fetched blocks level with the current window's share of consumed rows. */
  #fetchNext(window: Window, consumed: number): void {
    const next = this.#plan.after(window);
    const wanted = Math.ceil((consumed / window.rows) * next.blocks.length);
    for (const index of next.blocks.slice(0, wanted)) void this.#block(index).catch(() => undefined);
  }

  #block(index: number): Promise<ActivationBlock> {
    const known = this.#blocks.get(index);
    if (known) return known;
    const block = this.#source.readBlock(index);
    this.#blocks.set(index, block);
    // A failed read is tried again when the block is needed, and reported then.
    block.catch(() => this.#blocks.delete(index));
    return block;
  }

  #gather(first: number, count: number, batch: RowBatch, at: number): void {
    const { order, blocks, blockOf, starts } = this.#current!;
    for (const { name, width } of this.hooks) {
      const sources = blocks.map((block) => block.activations.get(name)!);
      const into = batch.activations.get(name)!;
      for (let i = 0; i < count; i++) {
        const row = order[first + i]!;
        const block = blockOf[row]!;
        const from = (row - starts[block]!) * width;
        into.set(sources[block]!.subarray(from, from + width), (at + i) * width);
      }
    }
    for (let i = 0; i < count; i++) {
      const row = order[first + i]!;
      const index = blockOf[row]!;
      const block = blocks[index]!;
      const from = row - starts[index]!;
      batch.tokenId[at + i] = block.tokenId[from]!;
      batch.seqId[at + i] = block.seqId[from]!;
      batch.pos[at + i] = block.pos[from]!;
    }
  }
}

/** Which block each row of the blocks, end to end, belongs to, and where each block starts. */
function rowIndex(
  blocks: readonly ActivationBlock[],
  rows: number,
): { blockOf: Uint32Array; starts: number[] } {
  const blockOf = new Uint32Array(rows);
  const starts: number[] = [];
  let at = 0;
  blocks.forEach((block, index) => {
    starts.push(at);
    blockOf.fill(index, at, at + block.rows);
    at += block.rows;
  });
  return { blockOf, starts };
}

/** A batch of zeros, to be filled by {@link RowStream.read}. */
export function emptyBatch(hooks: readonly HookWidth[], rows: number): RowBatch {
  return {
    rows,
    activations: new Map(hooks.map(({ name, width }) => [name, new Float32Array(rows * width)])),
    tokenId: new Int32Array(rows),
    seqId: new Uint32Array(rows),
    pos: new Uint16Array(rows),
  };
}
