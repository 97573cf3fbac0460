/**
 * @file Writes one shard: blocks in, a finished Arrow stream file and its sidecar out. The file grows under the name
 * `….part` (of its own, see parts.ts); {@link ShardWriter.finish} fsyncs and renames it and then writes the sidecar, so a crash at any moment
 * leaves either a whole shard or none. Encoding and checksums happen in `append`, the writing itself in the background.
 */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { explainDisk, publish } from '../files.ts';
import { partOf, removeParts } from '../parts.ts';
import { writeSealed } from '../seal.ts';
import { targetOf } from '../targets.ts';
import type { ActivationBlock, HookWidth } from './block-source.ts';
import { BlockEncoder, lengthOf, type Pieces } from './encode.ts';
import { type ShardDtype, shardSchema, sidecarName } from './schema.ts';
import { type BlockEntry, type Sidecar, storedStats } from './sidecar.ts';
import { addRows, type BadValue, emptyStats, storageLimit } from './stats.ts';

/** What a shard is made of. */
export interface ShardOptions {
  hooks: readonly HookWidth[];
  dtype: ShardDtype;
  /** Hash of what determines the rows; stored in the sidecar. */
  contentHash: string;
  /** Index of the shard's first block in the whole harvest. */
  firstBlock: number;
}

/** A number that the shard's type cannot hold, with the hook it came from. */
export interface UnsoundBlock extends BadValue {
  hook: string;
}

/** One shard being written. Append blocks in order, then {@link finish} or {@link abort}. */
export class ShardWriter {
  readonly #path: string;
  readonly #part: string;
  readonly #options: ShardOptions;
  readonly #file: FileHandle;
  readonly #encoder: BlockEncoder;
  readonly #hash: Hash = createHash('sha256');
  readonly #stats;
  readonly #blocks: BlockEntry[] = [];
  readonly #header: Sidecar['header'];
  #bytes = 0;
  #rows = 0;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, part: string, options: ShardOptions, file: FileHandle) {
    this.#path = path;
    this.#part = part;
    this.#options = options;
    this.#file = file;
    this.#stats = emptyStats(options.hooks);
    this.#encoder = new BlockEncoder(shardSchema(options.hooks, options.dtype));
    const header = this.#encoder.header;
    this.#header = { length: lengthOf(header), crc32: checksum(header) };
    this.#push(header);
  }

  /** Starts `path`, whose lock the caller holds: what anybody left unfinished there is removed. */
  static async create(path: string, options: ShardOptions): Promise<ShardWriter> {
    try {
      const target = await targetOf(path);
      const part = partOf(target);
      await removeParts(target, 'all');
      return new ShardWriter(path, part, options, await open(part, 'wx'));
    } catch (error) {
      throw explainDisk(error, path);
    }
  }

  /**
   * Appends one block.
   * @param halves room for the rounded rows of a float16 shard, per hook; made afresh if absent
   * @returns what cannot be stored (the shard is then spoilt: abort it), or a promise of the block being written; the
   * block's arrays and `halves` must not change until then
   */
  append(
    block: ActivationBlock,
    halves?: ReadonlyMap<string, Uint16Array>,
  ): { unsound: UnsoundBlock } | { written: Promise<void> } {
    for (const [hook, stats] of this.#stats) {
      const bad = addRows(stats, block.activations.get(hook)!, block.rows, storageLimit(this.#options.dtype));
      if (bad) return { unsound: { hook, ...bad } };
    }
    const pieces = this.#encoder.block(block, halves);
    const entry = {
      offset: this.#bytes,
      length: lengthOf(pieces),
      rows: block.rows,
      crc32: checksum(pieces),
    };
    this.#blocks.push(entry);
    this.#rows += block.rows;
    return { written: this.#push(pieces) };
  }

  /** Makes the file durable, gives it its name and writes its sidecar. */
  async finish(): Promise<Sidecar> {
    try {
      await this.#push(this.#encoder.end());
      await this.#file.sync();
      await this.#file.close();
      await publish(this.#part, this.#path);
    } catch (error) {
      throw explainDisk(error, this.#path);
    }
    const sidecar = this.#sidecar();
    await writeSealed(join(dirname(this.#path), sidecarName(sidecar.file)), sidecar);
    return sidecar;
  }

  /** Leaves nothing behind. */
  async abort(): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#file.close().catch(() => undefined);
    await rm(this.#part, { force: true });
  }

  #push(pieces: Pieces): Promise<void> {
    for (const piece of pieces) this.#hash.update(piece);
    const at = this.#bytes;
    this.#bytes += lengthOf(pieces);
    const written = this.#writing.then(() => writeAll(this.#file, pieces, at));
    // A failed write is reported by the promise that the caller holds and again by finish, never as unhandled.
    this.#writing = written;
    written.catch(() => undefined);
    return written.catch((error: unknown) => {
      throw explainDisk(error, this.#path);
    });
  }

  #sidecar(): Sidecar {
    return {
      format: 'unfold-shard-1',
      file: basename(this.#path),
      content_hash: this.#options.contentHash,
      first_block: this.#options.firstBlock,
      rows: this.#rows,
      bytes: this.#bytes,
      sha256: this.#hash.digest('hex'),
      header: this.#header,
      blocks: this.#blocks,
      statistics: storedStats(this.#stats),
    };
  }
}

const checksum = (pieces: Pieces): number => pieces.reduce((crc, piece) => crc32(piece, crc), 0);

/** writev may write less than asked (a signal, a nearly full disk): it is repeated until done or refused. */
async function writeAll(file: FileHandle, pieces: Pieces, at: number): Promise<void> {
  let rest = pieces;
  let position = at;
  while (rest.length) {
    const { bytesWritten } = await file.writev(rest, position);
    position += bytesWritten;
    rest = dropBytes(rest, bytesWritten);
  }
}

function dropBytes(pieces: Pieces, count: number): Pieces {
  let skip = count;
  const rest: Pieces = [];
  for (const piece of pieces) {
    if (skip < piece.byteLength) rest.push(piece.subarray(skip));
    skip = Math.max(0, skip - piece.byteLength);
  }
  return rest;
}
