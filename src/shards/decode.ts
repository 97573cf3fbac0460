/**
 * @file Bytes of a shard of ours become a block. Activations are views on the bytes that were read (float16: a widened
 * copy); nothing is visited value by value.
 */
import { type Column, loadColumn, type ReadBody } from '../arrow/column.ts';
import { Damage } from '../arrow/flatbuffer.ts';
import { type Content, readMessage } from '../arrow/message.ts';
import type { Field } from '../arrow/schema.ts';
import type { ActivationBlock, HookWidth } from './block-source.ts';
import { fromHalf } from './float16.ts';
import type { ShardDtype } from './schema.ts';

/** The columns of a stream, from its first message. @throws Damage */
export function decodeSchema(header: Uint8Array): readonly Field[] {
  const { content } = splitMessage(header);
  if (content.kind === 'schema') return content.fields;
  throw new Damage(`a ${content.kind} where the schema has to be`);
}

/** Hooks and type of our own columns; nothing if they have another form. */
export function describeSchema(
  fields: readonly Field[],
): { hooks: HookWidth[]; dtype: ShardDtype } | undefined {
  const lists = fields.filter(({ type }) => type.kind === 'fixed_size_list');
  const dtypes = new Set(lists.map(listDtype));
  const [dtype] = dtypes;
  if (!dtype || dtypes.size > 1) return undefined;
  if (!IDS.every(({ name, kind }) => fields.some((field) => field.name === name && isOf(kind, field))))
    return undefined;
  return { hooks: lists.map(({ name, type }) => ({ name, width: type.size })), dtype };
}

const IDS = [
  { name: 'token_id', kind: { size: 32, signed: true } },
  { name: 'seq_id', kind: { size: 32, signed: false } },
  { name: 'pos', kind: { size: 16, signed: false } },
];

const isOf = ({ size, signed }: { size: number; signed: boolean }, { type }: Field) =>
  type.kind === 'int' && type.size === size && type.signed === signed;

/** float16 or float32 for a fixed-size list of these, else nothing. */
function listDtype({ children: [item] }: Field): ShardDtype | undefined {
  if (item?.type.kind !== 'float' || item.dictionary) return undefined;
  return item.type.size === 16 ? 'float16' : item.type.size === 32 ? 'float32' : undefined;
}

/**
 * The record batch of our own schema that these bytes are, as a block with the hooks that are wanted.
 * @param bytes in memory that begins at a multiple of 8
 * @throws Damage
 */
export async function decodeBlock(
  fields: readonly Field[],
  bytes: Uint8Array,
  hooks: readonly HookWidth[],
): Promise<ActivationBlock> {
  const { content, body } = splitMessage(bytes);
  if (content.kind !== 'batch') throw new Damage(`a ${content.kind} where rows have to be`);
  const { batch } = content;
  const read: ReadBody = async ({ offset, length }) => aligned(body.subarray(offset, offset + length));
  const load = (name: string) =>
    loadColumn(
      fields,
      fields.findIndex((field) => field.name === name),
      batch,
      read,
    );
  const ids = async (name: string) => (await withoutNulls(load(name))).numbers as unknown;
  const activations = new Map<string, Float32Array>();
  for (const { name } of hooks) activations.set(name, listValues(await withoutNulls(load(name)), batch.rows));
  return {
    rows: batch.rows,
    activations,
    tokenId: (await ids('token_id')) as Int32Array,
    seqId: (await ids('seq_id')) as Uint32Array,
    pos: (await ids('pos')) as Uint16Array,
  };
}

/** The values of a fixed-size-list column, [rows, width], as float32. */
function listValues({ field, child }: Column, rows: number): Float32Array {
  const values = child!.numbers!.subarray(0, rows * field.type.size);
  return values instanceof Float32Array ? values : fromHalf(values as Uint16Array);
}

async function withoutNulls(loading: Promise<Column>): Promise<Column> {
  const column = await loading;
  const nulls = column.nulls + (column.child?.nulls ?? 0);
  if (nulls === 0) return column;
  throw new Damage(`${nulls} nulls in column ${column.field.name}`);
}

/** A message in memory: its mark, the length of its metadata, these, its body. */
function splitMessage(bytes: Uint8Array): { content: Content; body: Uint8Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.byteLength >= 8 && view.getInt32(0, true) === -1 ? view.getInt32(4, true) : 0;
  if (length <= 0 || 8 + length > view.byteLength) throw new Damage('no Arrow message');
  const { content, bodyLength } = readMessage(bytes.subarray(8, 8 + length));
  const body = bytes.subarray(8 + length);
  if (bodyLength > body.length) throw new Damage(`a body of ${bodyLength} bytes in ${body.length}`);
  return { content, body };
}

/** Buffers of ours begin at multiples of 8; those of another writer may not. */
const aligned = (bytes: Uint8Array): Uint8Array => (bytes.byteOffset % 8 === 0 ? bytes : bytes.slice());
