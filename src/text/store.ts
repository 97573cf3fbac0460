/**
 * @file Packed contexts on disk and in memory: a flat file of little-endian uint16 (vocabularies up to 65,536) or
 * uint32 token ids, context after context, with a JSON beside it that says what it is and carries its SHA-256. Written
 * under a name of its own, fsynced and renamed, the JSON last: a file without its JSON does not count. Small files are
 * read whole, larger ones context by context.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { endianness } from 'node:os';
import { dirname } from 'node:path';
import { z } from 'zod';
import { internal } from '../errors.ts';
import { exists, explainDisk, publish, sha256, sha256File, writeJson } from '../files.ts';
import { partOf, removeParts } from '../parts.ts';

/** Files above this size are not kept in memory. */
const MEMORY_LIMIT = 512 * 2 ** 20;
const WRITE_BYTES = 4 * 2 ** 20;

const headerSchema = z.object({
  kind: z.literal('unfold-tokens'),
  version: z.literal(1),
  /** What the tokens were made from: the key of the cache, spelled out. */
  made_from: z.record(z.string(), z.unknown()),
  dtype: z.enum(['uint16', 'uint32']),
  context_size: z.int().positive(),
  contexts: z.int().nonnegative(),
  documents: z.int().nonnegative(),
  /** Tokens of the documents, before packing. */
  document_tokens: z.int().nonnegative(),
  text_characters: z.int().nonnegative(),
  sha256: z.string(),
});

/** What the JSON beside a token file says. */
export type StoreHeader = z.infer<typeof headerSchema>;
type Counts = Pick<StoreHeader, 'documents' | 'document_tokens' | 'text_characters'>;

/** Random access to packed contexts. */
export interface ContextStore {
  readonly header: StoreHeader;
  /** Copies context `index` into `target`. */
  read(index: number, target: Int32Array): void;
  close(): void;
}

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

/** The store at `path`; `damaged` says why it cannot be used; undefined where there is none. */
export async function openStore(
  path: string,
): Promise<{ store: ContextStore } | { damaged: string } | undefined> {
  if (!(await exists(`${path}.json`))) return undefined;
  const header = await readHeader(`${path}.json`);
  if (header === undefined) return { damaged: 'its description does not parse' };
  const expected = header.contexts * header.context_size * bytesOf(header.dtype);
  const size = await stat(path).then(
    (s) => s.size,
    () => -1,
  );
  if (size !== expected)
    return { damaged: size < 0 ? 'the tokens are gone' : `${size} bytes instead of ${expected}` };
  if (size > MEMORY_LIMIT) {
    if ((await sha256File(path)) !== header.sha256) return { damaged: 'its checksum is wrong' };
    return { store: new FileStore(header, path) };
  }
  const bytes = await readFile(path);
  if (sha256(bytes) !== header.sha256) return { damaged: 'its checksum is wrong' };
  return { store: new MemoryStore(header, view(bytes, header.dtype)) };
}

async function readHeader(path: string): Promise<StoreHeader | undefined> {
  try {
    return headerSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

type Tokens = Uint16Array | Uint32Array;

function bytesOf(dtype: StoreHeader['dtype']): 2 | 4 {
  return dtype === 'uint16' ? 2 : 4;
}

function allocate(dtype: StoreHeader['dtype'], length: number): Tokens {
  return dtype === 'uint16' ? new Uint16Array(length) : new Uint32Array(length);
}

function view(bytes: Buffer, dtype: StoreHeader['dtype']): Tokens {
  if (endianness() !== 'LE')
    internal('token files are little-endian, and so is every machine Node runs on today');
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(new Uint8Array(bytes));
  const length = aligned.byteLength / bytesOf(dtype);
  const { buffer, byteOffset } = aligned;
  return dtype === 'uint16'
    ? new Uint16Array(buffer, byteOffset, length)
    : new Uint32Array(buffer, byteOffset, length);
}

class MemoryStore implements ContextStore {
  readonly header: StoreHeader;
  readonly #tokens: Tokens;

  constructor(header: StoreHeader, tokens: Tokens) {
    this.header = header;
    this.#tokens = tokens;
  }

  read(index: number, target: Int32Array): void {
    const size = this.header.context_size;
    target.set(this.#tokens.subarray(index * size, (index + 1) * size));
  }

  close(): void {}
}

class FileStore implements ContextStore {
  readonly header: StoreHeader;
  readonly #file: number;
  readonly #row: Buffer;
  readonly #tokens: Tokens;

  constructor(header: StoreHeader, path: string) {
    this.header = header;
    this.#file = openSync(path, 'r');
    this.#row = Buffer.from(new ArrayBuffer(header.context_size * bytesOf(header.dtype)));
    this.#tokens = view(this.#row, header.dtype);
  }

  read(index: number, target: Int32Array): void {
    const { length } = this.#row;
    if (readSync(this.#file, this.#row, 0, length, index * length) !== length)
      internal(`context ${index} is cut short`);
    target.set(this.#tokens);
  }

  close(): void {
    closeSync(this.#file);
  }
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
    const part = partOf(path);
    try {
      await mkdir(dirname(path), { recursive: true });
      await removeParts(path, 'dead');
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
