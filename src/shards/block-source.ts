/**
 * @file The contract between whatever makes activation rows (shards on disk, a live model) and whatever consumes them
 * (shuffle, training, evaluation). Rows come in blocks: the rows of one forward pass of the harvest, in corpus order.
 * A block is the unit of everything: harvest writes one Arrow record batch per block, the shuffle permutes blocks, and
 * a live source recomputes exactly one block at a time, which makes its rows equal to the shards' to the last bit.
 */

/** A hook point and the width of its rows: `{ name: 'blocks.8.hook_resid_pre', width: 768 }`. */
export interface HookWidth {
  name: string;
  width: number;
}

/** The rows of one block. */
export interface ActivationBlock {
  /** Number of rows. */
  rows: number;
  /** Per hook name: [rows, width] row-major. float16 storage is already widened to float32. */
  activations: ReadonlyMap<string, Float32Array>;
  /** [rows] token at each row; -1 where it is not known ({@link BlockSource.hasTokens}). */
  tokenId: Int32Array;
  /** [rows] index of the context (packed sequence) in the corpus. */
  seqId: Uint32Array;
  /** [rows] position of the token in its context. */
  pos: Uint16Array;
}

/** Random access to blocks; row counts are known before any activation is read or computed. */
export interface BlockSource {
  readonly hooks: readonly HookWidth[];
  /** Rows in each block; special tokens are already left out. */
  readonly blockRows: readonly number[];
  /** False for rows of other programs that were saved without their tokens. */
  readonly hasTokens?: boolean;
  /** Hash of everything that determines the rows (model, tokeniser, dataset, settings): equal for shards and live. */
  readonly contentHash: string;
  /**
   * Blocks may be asked for in any order and concurrently.
   * @param hooks names of those that are wanted, as a hint: others may be left out if that is cheaper
   */
  readBlock(index: number, hooks?: readonly string[]): Promise<ActivationBlock>;
  close(): Promise<void>;
}
