/**
 * @file The messages that Arrow files are made of (format/Message.fbs): a schema, dictionaries, record batches. Whatever a
 * message says of its body is held against the body's length here, so that a batch that comes out can be read.
 */
import { Damage, Table } from './flatbuffer.ts';
import { type Field, readSchema } from './schema.ts';

/** A range of bytes. */
export interface Range {
  offset: number;
  length: number;
}

/** Rows and where their buffers lie in the body. */
export interface Batch {
  rows: number;
  /** Values and nulls of each column and of what it holds, depth first. */
  nodes: { length: number; nulls: number }[];
  buffers: Range[];
  /** Buffers besides of columns of views. */
  variadic: number[];
}

/** What a message says. */
export type Content =
  | { kind: 'schema'; fields: Field[] }
  | { kind: 'batch'; batch: Batch }
  | { kind: 'dictionary'; id: number; delta: boolean; batch: Batch };

/** Fields of the tables, by their numbers. */
const MESSAGE = { version: 0, kind: 1, header: 2, bodyLength: 3 };
const BATCH = { rows: 0, nodes: 1, buffers: 2, compression: 3, variadic: 4 };
const DICTIONARY = { id: 0, batch: 1, delta: 2 };

/** Version 0.8 of Arrow, of 2017; before it buffers were written otherwise. */
const OLDEST = 3;

/** A message's metadata. @throws Damage */
export function readMessage(metadata: Uint8Array): { content: Content; bodyLength: number } {
  const message = Table.root(metadata);
  const version = message.int16(MESSAGE.version);
  if (version < OLDEST) throw new Damage(`version ${version} of the metadata, from before Arrow 0.8`);
  const bodyLength = message.int64(MESSAGE.bodyLength);
  const header = message.needed(MESSAGE.header, 'header');
  return { content: readContent(message.uint8(MESSAGE.kind), header, version, bodyLength), bodyLength };
}

function readContent(kind: number, header: Table, version: number, bodyLength: number): Content {
  if (kind === 1) return { kind: 'schema', fields: readSchema(header, version) };
  if (kind === 3) return { kind: 'batch', batch: readBatch(header, bodyLength) };
  if (kind !== 2) throw new Damage(`a message of the unknown kind ${kind}`);
  const batch = readBatch(header.needed(DICTIONARY.batch, 'batch'), bodyLength);
  const delta = header.uint8(DICTIONARY.delta) === 1;
  return { kind: 'dictionary', id: header.int64(DICTIONARY.id), delta, batch };
}

function readBatch(table: Table, bodyLength: number): Batch {
  if (table.table(BATCH.compression)) throw new Damage('compressed record batches');
  const nodes = table.structs(BATCH.nodes, 2).map(([length, nulls]) => ({ length: length!, nulls: nulls! }));
  const buffers = table
    .structs(BATCH.buffers, 2)
    .map(([offset, length]) => ({ offset: offset!, length: length! }));
  for (const { offset, length } of buffers)
    if (offset + length > bodyLength)
      throw new Damage(`a buffer of ${length} bytes at ${offset} of a body of ${bodyLength}`);
  for (const { length, nulls } of nodes)
    if (nulls > length) throw new Damage(`${nulls} nulls among ${length} values`);
  const variadic = table.structs(BATCH.variadic, 1).map(([count]) => count!);
  return { rows: table.int64(BATCH.rows), nodes, buffers, variadic };
}
