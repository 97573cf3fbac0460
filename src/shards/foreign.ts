/**
 * @file Reads activations that other programs saved as a Hugging Face `datasets` folder, without sidecars: SAELens's
 * cached activations (one row a context, Array2D = list<list<float>>, with `token_ids`), and flat rows
 * (FixedSizeList, or lists that all have one length). Each record batch is a block. Lists of differing lengths, nulls
 * and float64 are refused with the reason. There are no checksums to verify; sizes are all that can be.
 */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Message, MessageHeader, type RecordBatch } from 'apache-arrow';
import { z } from 'zod';
import { hashOf, readJson } from '../files.ts';
import type { ActivationBlock, BlockSource, HookWidth } from './block-source.ts';
import { decodeBatch, END_MARK } from './decode.ts';
import { activationColumns, badDataset, contextLength, foreignBlock } from './foreign-columns.ts';

const stateSchema = z.object({ _data_files: z.array(z.object({ filename: z.string() })).min(1) });

/** Where a record batch lies. */
interface BatchPlace {
  file: string;
  header: Buffer;
  offset: number;
  length: number;
  /** Rows of the table, as the message's header says. */
  numRows: number;
}

/** Opens a `datasets` folder of activations as blocks, read-only. */
export async function openForeign(dir: string): Promise<BlockSource> {
  const statePath = join(dir, 'state.json');
  const state = stateSchema.safeParse(await readJson(statePath));
  if (!state.success) {
    const found = z.prettifyError(state.error);
    throw badDataset(statePath, 'the state of a Hugging Face datasets folder', found);
  }
  const places: BatchPlace[] = [];
  const sizes: [string, number][] = [];
  for (const { filename } of state.data._data_files) {
    const path = join(dir, filename);
    places.push(...(await scan(path)));
    sizes.push([filename, (await stat(path)).size]);
  }
  if (!places.length) throw badDataset(dir, 'rows', 'none');
  const first = await load(places[0]!);
  const hooks = activationColumns(first, dir);
  const context = contextLength(first, hooks, dir);
  const blockRows = places.map(({ numRows }) => numRows * context);
  const contentHash = hashOf({ format: 'datasets', state: state.data, sizes });
  return new ForeignShards(hooks, blockRows, contentHash, places);
}

class ForeignShards implements BlockSource {
  readonly hooks: readonly HookWidth[];
  readonly blockRows: readonly number[];
  readonly contentHash: string;
  readonly #places: readonly BatchPlace[];

  constructor(hooks: HookWidth[], blockRows: number[], contentHash: string, places: BatchPlace[]) {
    this.hooks = hooks;
    this.blockRows = blockRows;
    this.contentHash = contentHash;
    this.#places = places;
  }

  async readBlock(index: number): Promise<ActivationBlock> {
    const place = this.#places[index]!;
    const firstRow = this.blockRows.slice(0, index).reduce((sum, rows) => sum + rows, 0);
    return foreignBlock(await load(place), this.hooks, firstRow, place.file);
  }

  async close(): Promise<void> {}
}

/** Finds the record batches of a stream by its message headers alone. */
async function scan(path: string): Promise<BatchPlace[]> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw badDataset(path, 'the data file that state.json names', 'no readable file', cause);
  });
  try {
    const { size } = await file.stat();
    const places: BatchPlace[] = [];
    let header: Buffer | undefined;
    for (let at = 0; at < size; ) {
      const message = await readMessage(file, at, path);
      if (!message) break;
      const length = message.length + message.bodyLength;
      if (at + length > size)
        throw badDataset(path, `a message of ${length} bytes at byte ${at}`, `${size - at} bytes`);
      if (message.type === MessageHeader.Schema) header = message.bytes;
      else if (message.type !== MessageHeader.RecordBatch)
        throw badDataset(path, 'plain record batches', 'dictionaries');
      else if (header) places.push({ file: path, header, offset: at, length, numRows: message.numRows });
      at += length;
    }
    return places;
  } finally {
    await file.close();
  }
}

/** One message's header; nothing at the end-of-stream mark. */
async function readMessage(file: FileHandle, at: number, path: string) {
  const prefix = Buffer.alloc(8);
  await file.read(prefix, 0, 8, at);
  if (prefix.readInt32LE(0) !== -1) {
    throw badDataset(
      path,
      `an Arrow IPC stream message at byte ${at}`,
      'other bytes (the Arrow file format, or damage)',
    );
  }
  const length = prefix.readInt32LE(4);
  if (length === 0) return undefined;
  if (length < 0 || length > 1 << 26)
    throw badDataset(path, 'a message header of sensible length', `${length} bytes`);
  const bytes = Buffer.alloc(8 + length);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, at);
  if (bytesRead < bytes.length)
    throw badDataset(path, `${bytes.length} bytes at byte ${at}`, `${bytesRead} (truncated)`);
  const message = decodeHeader(bytes.subarray(8), path, at);
  const numRows = message.isRecordBatch() ? message.header().length : 0;
  return { bytes, length: bytes.length, bodyLength: message.bodyLength, type: message.headerType, numRows };
}

function decodeHeader(bytes: Uint8Array, path: string, at: number): Message {
  try {
    return Message.decode(bytes);
  } catch (cause) {
    throw badDataset(path, `an Arrow message at byte ${at}`, 'bytes that do not decode', cause);
  }
}

async function load({ file: path, header, offset, length }: BatchPlace): Promise<RecordBatch> {
  const file = await open(path, 'r');
  try {
    const stream = Buffer.allocUnsafeSlow(header.length + length + END_MARK);
    header.copy(stream);
    const { bytesRead } = await file.read(stream, header.length, length, offset);
    if (bytesRead < length)
      throw badDataset(path, `${length} bytes at byte ${offset}`, `${bytesRead} (truncated)`);
    return decodeBatch(stream);
  } finally {
    await file.close();
  }
}
