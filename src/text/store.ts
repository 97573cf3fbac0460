/**
 * @file Packed contexts on disk and in memory: a flat file of little-endian uint16 (vocabularies up to 65,536) or
 * uint32 token ids, context after context, with a JSON beside it that says what it is and carries its SHA-256. Written by
 * store-writer.ts, the JSON last: a file without its JSON does not count. Small files are read whole, larger ones context
 * by context.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { endianness } from 'node:os';
import { z } from 'zod';
import { internal } from '../errors.ts';
import { exists, sha256, sha256File } from '../files.ts';

/** Files above this size are not kept in memory. */
const MEMORY_LIMIT = 512 * 2 ** 20;

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
/** What is known when all text was read. */
export type Counts = Pick<StoreHeader, 'documents' | 'document_tokens' | 'text_characters'>;

/** Random access to packed contexts. */
export interface ContextStore {
  readonly header: StoreHeader;
  /** Copies context `index` into `target`. */
  read(index: number, target: Int32Array): void;
  close(): void;
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

/** Token ids as they are stored. */
export type Tokens = Uint16Array | Uint32Array;

/** Bytes of a token id. */
export function bytesOf(dtype: StoreHeader['dtype']): 2 | 4 {
  return dtype === 'uint16' ? 2 : 4;
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

/** Contexts in memory. */
export class MemoryStore implements ContextStore {
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
