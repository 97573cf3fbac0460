/**
 * @file Writes packed contexts (store.ts) to disk or to memory, block by block, so that memory stays bounded while a corpus
 * is tokenised. A file is fsynced and renamed before its JSON is written.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { internal } from '../errors.ts';
import { explainDisk, publish, sha256, writeJson } from '../files.ts';
import { makeFolder } from '../folders.ts';
import { partOf, removeParts } from '../parts.ts';
import { targetOf } from '../targets.ts';
import {
  bytesOf,
  type ContextStore,
  type Counts,
  MemoryStore,
  openStore,
  type StoreHeader,
  type Tokens,
} from './store.ts';

/** Bytes of a block. */
const WRITE_BYTES = 4 * 2 ** 20;

/** Takes contexts in order. */
export interface StoreWriter {
  readonly contexts: number;
  add(context: Int32Array): void;
  /** Waits until memory is free again; call it now and then. */
  drain(): Promise<void>;
  finish(counts: Counts): Promise<ContextStore>;
  /** Leaves nothing behind. */
  abandon(): Promise<void>;
}

/** Settings of a store that is about to be written. */
export interface StoreSettings {
  context_size: number;
  vocabSize: number;
  made_from: Record<string, unknown>;
}

/** A writer to `path` (its JSON is `path.json`), or to memory when `path` is null. */
export async function createStore(path: string | null, settings: StoreSettings): Promise<StoreWriter> {
  return path === null ? new MemoryWriter(settings) : FileWriter.open(path, settings);
}

function allocate(dtype: StoreHeader['dtype'], length: number): Tokens {
  return dtype === 'uint16' ? new Uint16Array(length) : new Uint32Array(length);
}

abstract class Writer {
  contexts = 0;
  protected readonly settings: StoreSettings;
  protected readonly dtype: StoreHeader['dtype'];
  protected block: Tokens;
  protected filled = 0;

  constructor(settings: StoreSettings) {
    this.settings = settings;
    this.dtype = settings.vocabSize <= 65536 ? 'uint16' : 'uint32';
    const rows = Math.max(1, Math.floor(WRITE_BYTES / bytesOf(this.dtype) / settings.context_size));
    this.block = allocate(this.dtype, rows * settings.context_size);
  }

  add(context: Int32Array): void {
    this.block.set(context, this.filled);
    this.filled += context.length;
    this.contexts++;
    if (this.filled === this.block.length) this.flush();
  }

  protected abstract flush(): void;

  protected header(counts: Counts, digest: string): StoreHeader {
    const { made_from, context_size } = this.settings;
    const { contexts, dtype } = this;
    return {
      kind: 'unfold-tokens',
      version: 1,
      made_from,
      dtype,
      context_size,
      contexts,
      ...counts,
      sha256: digest,
    };
  }

  /** The filled part of the block; the next tokens go into a fresh one. */
  protected take(): Tokens {
    const full = this.block.subarray(0, this.filled);
    this.block = allocate(this.dtype, this.block.length);
    this.filled = 0;
    return full;
  }
}

class MemoryWriter extends Writer implements StoreWriter {
  readonly #blocks: Tokens[] = [];

  protected flush(): void {
    this.#blocks.push(this.take());
  }

  async drain(): Promise<void> {}

  async finish(counts: Counts): Promise<ContextStore> {
    this.flush();
    const all = allocate(this.dtype, this.contexts * this.settings.context_size);
    let at = 0;
    for (const block of this.#blocks) {
      all.set(block, at);
      at += block.length;
    }
    const bytes = new Uint8Array(all.buffer);
    return new MemoryStore(this.header(counts, sha256(bytes)), all);
  }

  async abandon(): Promise<void> {}
}

class FileWriter extends Writer implements StoreWriter {
  readonly #path: string;
  readonly #part: string;
  readonly #file: FileHandle;
  readonly #digest = createHash('sha256');
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(path: string, part: string, file: FileHandle, settings: StoreSettings) {
    super(settings);
    this.#path = path;
    this.#part = part;
    this.#file = file;
  }

  static async open(path: string, settings: StoreSettings): Promise<FileWriter> {
    try {
      const target = await targetOf(path);
      const part = partOf(target);
      await makeFolder(dirname(target));
      await removeParts(target, 'dead');
      return new FileWriter(path, part, await open(part, 'wx'), settings);
    } catch (error) {
      throw explainDisk(error, path);
    }
  }

  protected flush(): void {
    const block = this.take();
    const bytes = new Uint8Array(block.buffer, block.byteOffset, block.byteLength);
    this.#digest.update(bytes);
    this.#writing = this.#writing.then(() => this.#file.writeFile(bytes));
    // A failed write is reported by the next drain(), not as an unhandled rejection.
    this.#writing.catch(() => {});
  }

  async drain(): Promise<void> {
    try {
      await this.#writing;
    } catch (error) {
      throw explainDisk(error, this.#path);
    }
  }

  async finish(counts: Counts): Promise<ContextStore> {
    this.flush();
    await this.drain();
    try {
      await this.#file.sync();
      await this.#file.close();
      await publish(this.#part, this.#path);
    } catch (error) {
      throw explainDisk(error, this.#path);
    }
    await writeJson(`${this.#path}.json`, this.header(counts, this.#digest.digest('hex')));
    const opened = await openStore(this.#path);
    if (opened === undefined || !('store' in opened)) internal(`${this.#path} cannot be read back`);
    return opened.store;
  }

  async abandon(): Promise<void> {
    await this.#writing.catch(() => {});
    await this.#file.close().catch(() => {});
    await rm(this.#part, { force: true });
  }
}
