/**
 * @file Bytes of an Arrow IPC stream become a block. Activations are views on the bytes that were read (float16: a
 * widened copy); nothing is visited value by value.
 */
import {
  DataType,
  FixedSizeList,
  Precision,
  type RecordBatch,
  RecordBatchReader,
  type Schema,
} from 'apache-arrow';
import { internal } from '../errors.ts';
import type { ActivationBlock, HookWidth } from './block-source.ts';
import { fromHalf } from './float16.ts';
import type { ShardDtype } from './schema.ts';

/** Length of the end-of-stream mark that {@link decodeBatch} expects room for. */
export const END_MARK = 8;

/** The schema of a stream, from its first message. */
export function decodeSchema(header: Uint8Array): Schema {
  const reader = RecordBatchReader.from(header).open();
  return reader.schema;
}

/** Hooks and type of our own schema; nothing if it has another form. */
export function describeSchema(schema: Schema): { hooks: HookWidth[]; dtype: ShardDtype } | undefined {
  const lists = schema.fields.filter((field) => field.type instanceof FixedSizeList);
  const dtypes = new Set(lists.map(({ type }) => listDtype(type as FixedSizeList)));
  const [dtype] = dtypes;
  if (!dtype || dtypes.size > 1) return undefined;
  return { hooks: lists.map(({ name, type }) => ({ name, width: (type as FixedSizeList).listSize })), dtype };
}

/** float16 or float32 for a fixed-size list of these, else nothing. */
export function listDtype(type: FixedSizeList): ShardDtype | undefined {
  const item: unknown = type.children[0]?.type;
  if (!DataType.isFloat(item)) return undefined;
  if (item.precision === Precision.HALF) return 'float16';
  return item.precision === Precision.SINGLE ? 'float32' : undefined;
}

/**
 * The one record batch of a small stream.
 * @param stream schema message, record batch and {@link END_MARK} spare bytes, back to back
 */
export function decodeBatch(stream: Uint8Array): RecordBatch {
  stream.set([255, 255, 255, 255, 0, 0, 0, 0], stream.byteLength - END_MARK);
  const batches = [...RecordBatchReader.from(stream)];
  return batches[0] ?? internal('a record batch was expected');
}

/** A batch of our own schema as a block. */
export function blockOf(batch: RecordBatch, hooks: readonly HookWidth[]): ActivationBlock {
  const ids = <T extends Int32Array | Uint32Array | Uint16Array>(name: string) =>
    batch.getChild(name)!.data[0]!.values.subarray(0, batch.numRows) as T;
  return {
    rows: batch.numRows,
    activations: new Map(hooks.map(({ name, width }) => [name, listValues(batch, name, width)])),
    tokenId: ids<Int32Array>('token_id'),
    seqId: ids<Uint32Array>('seq_id'),
    pos: ids<Uint16Array>('pos'),
  };
}

/** The values of a fixed-size-list column, [rows, width], as float32. */
export function listValues(batch: RecordBatch, name: string, width: number): Float32Array {
  const column = batch.getChild(name)!.data[0]!;
  const values: unknown = column.children[0]!.values;
  const end = batch.numRows * width;
  if (values instanceof Float32Array) return values.subarray(0, end);
  if (values instanceof Uint16Array) return fromHalf(values.subarray(0, end));
  return internal(`column ${name} is not made of floats`);
}
