/**
 * @file Arrow IPC, streams and files alike (apache-arrow tells them apart), batch by batch. This is also what a
 * Hugging Face `datasets` folder holds. Compressed bodies are refused with the remedy: apache-arrow has no codecs.
 */
import { open } from 'node:fs/promises';
import { type RecordBatch, RecordBatchReader, type Vector } from 'apache-arrow';
import { UnfoldError } from '../../errors.ts';
import { readChunks } from './bytes.ts';
import {
  chooseColumn,
  idsCell,
  type Piece,
  type ReadOptions,
  type SourceFile,
  stopIfAborted,
  type TextFormat,
  textCell,
} from './format.ts';
import { pieces } from './plain.ts';

/** `.arrow`, `.feather` (version 2) and `.ipc`. */
export const arrow: TextFormat = { name: 'arrow', endings: ['.arrow', '.feather', '.ipc'], read: readArrow };

async function* readArrow(file: SourceFile, options: ReadOptions): AsyncGenerator<Piece> {
  let row = 0;
  for await (const batch of batches(file, options)) {
    stopIfAborted(options.signal);
    const names = batch.schema.fields.map((field) => field.name);
    const { column, kind } = chooseColumn(file.path, names, options);
    const cells = batch.getChild(column)!;
    for (let i = 0; i < batch.numRows; i++, row++)
      yield* cellPieces(cells, i, kind, `${file.path}: row ${row}`, column, options);
  }
}

function* cellPieces(
  cells: Vector,
  i: number,
  kind: 'text' | 'ids',
  where: string,
  column: string,
  options: ReadOptions,
): Generator<Piece> {
  const value: unknown = cells.get(i);
  if (kind === 'text') {
    yield* pieces(textCell(value, where, column), true, options.cut);
  } else {
    const list = isVector(value) ? value.toArray() : value;
    yield { ids: idsCell(list, where, column), starts: true };
  }
}

/** Lists come as vectors; apache-arrow's own class check fails across its two builds, so the shape decides. */
function isVector(value: unknown): value is Vector {
  return typeof (value as { toArray?: unknown } | null)?.toArray === 'function';
}

/** Record batches; the reader holds one at a time. */
async function* batches(file: SourceFile, options: ReadOptions): AsyncGenerator<RecordBatch> {
  try {
    if (await isFileFormat(file.path)) {
      yield* fileBatches(file, options);
    } else {
      yield* await RecordBatchReader.from(readChunks(file, options.advance));
    }
  } catch (cause) {
    throw explain(cause, file);
  }
}

async function* fileBatches(file: SourceFile, options: ReadOptions): AsyncGenerator<RecordBatch> {
  const handle = await open(file.path);
  try {
    const reader = await RecordBatchReader.from(handle);
    await reader.open();
    const count = reader.isFile() ? reader.numRecordBatches : 1;
    for await (const batch of reader) {
      yield batch;
      options.advance(Math.floor(file.bytes / Math.max(1, count)));
    }
  } finally {
    await handle.close().catch(() => {});
  }
}

async function isFileFormat(path: string): Promise<boolean> {
  const handle = await open(path);
  try {
    const { buffer } = await handle.read({ buffer: Buffer.alloc(6) });
    return buffer.toString('latin1') === 'ARROW1';
  } finally {
    await handle.close();
  }
}

function explain(cause: unknown, file: SourceFile): unknown {
  if (cause instanceof UnfoldError || !(cause instanceof Error) || cause.name === 'AbortError') return cause;
  const compressed = /compress/i.test(cause.message);
  return new UnfoldError('bad-arrow', {
    where: file.path,
    expected: 'a whole Arrow IPC stream or file, not compressed',
    found: compressed ? 'compressed record batches' : cause.message,
    todo: compressed
      ? 'write it again without compression: pyarrow.ipc.IpcWriteOptions(compression=None), or as Parquet'
      : 'copy or make the file again',
    cause,
  });
}
