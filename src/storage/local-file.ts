/**
 * @file A local file on its way into a store: opened once, so that what is hashed is what is sent, also if the name is
 * given to another file meanwhile; and only as far as it reached when it was opened, as logs grow.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { sha256 } from '../files.ts';
import type { PutSource } from './store.ts';

const PIECE = 1 << 20;

/** Bytes that can be read more than once. */
export interface Source {
  bytes: number;
  sha256: string;
  /** From `start` to before `end`. */
  read(start: number, end: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** Opens what is to be stored and hashes it. Throws the file system's errors. */
export async function openSource(from: PutSource, signal?: AbortSignal): Promise<Source> {
  if (!('path' in from)) {
    const content = Buffer.from(from.bytes.buffer, from.bytes.byteOffset, from.bytes.byteLength);
    const read = async (start: number, end: number) => content.subarray(start, end);
    return { bytes: content.length, sha256: sha256(content), read, async close() {} };
  }
  const file = await open(from.path, 'r');
  try {
    const bytes = Math.min(from.bytes ?? Number.POSITIVE_INFINITY, (await file.stat()).size);
    const hash = createHash('sha256');
    for await (const piece of pieces({ bytes, read: (a, b) => readRange(file, a, b) }, signal))
      hash.update(piece);
    const read = (start: number, end: number) => readRange(file, start, end);
    return { bytes, sha256: hash.digest('hex'), read, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The source's bytes in pieces of a mebibyte. */
export async function* pieces(
  source: Pick<Source, 'bytes' | 'read'>,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  for (let start = 0; start < source.bytes; start += PIECE) {
    signal?.throwIfAborted();
    yield await source.read(start, Math.min(start + PIECE, source.bytes));
  }
}

async function readRange(file: FileHandle, start: number, end: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(end - start);
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, start + filled);
    if (bytesRead === 0)
      throw new Error(`internal: the file became shorter while it was read, at byte ${start + filled}`);
    filled += bytesRead;
  }
  return buffer;
}
