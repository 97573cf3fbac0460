/**
 * @file The values of a column of a record batch. Only the buffers of the column that is asked for are read; offsets,
 * counts and sizes are held against each other first, so that every value that is asked for later is there. Types: integers,
 * floats, text, lists of them, and dictionaries' indices; the caller looks at the type before (see schema.ts).
 */
import { endianness } from 'node:os';
import { internal } from '../errors.ts';
import { Damage } from './flatbuffer.ts';
import type { Batch, Range } from './message.ts';
import { type Field, type Type, typeName, VARIADIC } from './schema.ts';

/** Bytes of the batch's body, in memory that begins at a multiple of 8. */
export type ReadBody = (range: Range) => Promise<Uint8Array>;

/** Numbers as they are stored; float16 as its bits. */
export type Numbers =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** A column that has been checked. */
export interface Column {
  field: Field;
  length: number;
  nulls: number;
  /** A bit a value, 0 for null; undefined where there are no nulls. */
  validity: Uint8Array | undefined;
  /** Of integers, floats and indices. */
  numbers: Numbers | undefined;
  /** Of text and lists: where each begins, and the end; [length + 1], ascending. */
  offsets: ArrayLike<number> | undefined;
  /** Of text: its bytes; of views: the views, then what they point into. */
  bytes: Uint8Array[];
  /** What lists hold. */
  child: Column | undefined;
}

/**
 * The column with this index.
 * @param fields all columns of the batch
 * @throws Damage for whatever does not fit
 */
export async function loadColumn(
  fields: readonly Field[],
  index: number,
  batch: Batch,
  read: ReadBody,
): Promise<Column> {
  const cursor = new Cursor(batch, read);
  let column: Column | undefined;
  for (const [i, field] of fields.entries()) {
    if (i === index) column = await cursor.load(field);
    else cursor.pass(field);
  }
  cursor.end();
  if (!column || column.length !== batch.rows)
    throw new Damage(`${column?.length} values of "${fields[index]?.name}" in a batch of ${batch.rows} rows`);
  return column;
}

/** True if the value is null. */
export const isNull = ({ validity }: Column, i: number): boolean =>
  validity !== undefined && (validity[i >> 3]! & (1 << (i & 7))) === 0;

/** Walks through a batch's nodes and buffers in their order. */
class Cursor {
  readonly #batch: Batch;
  readonly #read: ReadBody;
  #node = 0;
  #buffer = 0;
  #variadic = 0;

  constructor(batch: Batch, read: ReadBody) {
    this.#batch = batch;
    this.#read = read;
  }

  /** Passes over a column that nobody reads. */
  pass(field: Field): void {
    this.#node++;
    if (field.dictionary) {
      this.#buffer += 2;
      return;
    }
    this.#buffer += field.type.buffers;
    if (VARIADIC.has(field.type.kind)) this.#buffer += this.#batch.variadic[this.#variadic++] ?? 0;
    for (const child of field.children) this.pass(child);
  }

  async load(field: Field): Promise<Column> {
    const node = this.#batch.nodes[this.#node++];
    if (!node) throw new Damage('fewer nodes than the columns need');
    const type: Type = field.dictionary?.index ?? field.type;
    const validity = await this.#validity(node);
    const column: Column = {
      field,
      ...node,
      validity,
      numbers: undefined,
      offsets: undefined,
      bytes: [],
      child: undefined,
    };
    if (type.kind === 'int' || type.kind === 'float')
      return { ...column, numbers: await this.#numbers(node.length, type) };
    return this.#nested(column);
  }

  /** Everything must have been used. */
  end(): void {
    const { nodes, buffers } = this.#batch;
    if (this.#node !== nodes.length || this.#buffer !== buffers.length)
      throw new Damage(
        `${nodes.length} nodes and ${buffers.length} buffers, where the columns need ${this.#node} and ${this.#buffer}`,
      );
  }

  async #nested(column: Column): Promise<Column> {
    const { field, length } = column;
    const { kind, size } = field.type;
    if (kind === 'utf8' || kind === 'large_utf8') {
      const offsets = await this.#offsets(length, kind === 'large_utf8');
      const bytes = await this.#bytes();
      return { ...column, offsets: within(offsets, bytes.length, field), bytes: [bytes] };
    }
    if (kind === 'utf8_view') return { ...column, bytes: await this.#views(length) };
    if (kind === 'list' || kind === 'large_list') {
      const offsets = await this.#offsets(length, kind === 'large_list');
      const child = await this.load(onlyChild(field));
      return { ...column, offsets: within(offsets, child.length, field), child };
    }
    if (kind !== 'fixed_size_list') return internal(`a column of ${kind} was asked for`);
    const child = await this.load(onlyChild(field));
    // A list of no items takes no bytes, so that any number of them could be said to be there.
    if (size < 1 || child.length < length * size)
      throw new Damage(`${child.length} values for ${length} lists of ${size} in "${field.name}"`);
    return { ...column, child };
  }

  async #bytes(): Promise<Uint8Array> {
    const range = this.#batch.buffers[this.#buffer++];
    if (!range) throw new Damage('fewer buffers than the columns need');
    return range.length === 0 ? new Uint8Array(0) : this.#read(range);
  }

  async #validity({ length, nulls }: { length: number; nulls: number }): Promise<Uint8Array | undefined> {
    if (nulls === 0) {
      this.#buffer++;
      return undefined;
    }
    return atLeast(await this.#bytes(), Math.ceil(length / 8));
  }

  async #numbers(length: number, type: Type): Promise<Numbers> {
    const bytes = atLeast(await this.#bytes(), length * (type.size / 8));
    return numbersOf(bytes, length, type);
  }

  async #offsets(length: number, large: boolean): Promise<ArrayLike<number>> {
    const bytes = await this.#bytes();
    if (length === 0 && bytes.length === 0) return [0];
    atLeast(bytes, (length + 1) * (large ? 8 : 4));
    const { buffer, byteOffset } = bytes;
    if (!large) return new Int32Array(buffer, byteOffset, length + 1);
    return Float64Array.from(new BigInt64Array(buffer, byteOffset, length + 1), Number);
  }

  async #views(length: number): Promise<Uint8Array[]> {
    const views = atLeast(await this.#bytes(), 16 * length);
    const count = this.#batch.variadic[this.#variadic++] ?? 0;
    if (count > this.#batch.buffers.length) throw new Damage(`${count} buffers of a column of views`);
    const bytes = [views];
    for (let i = 0; i < count; i++) bytes.push(await this.#bytes());
    return bytes;
  }
}

function onlyChild(field: Field): Field {
  if (field.children.length === 1) return field.children[0]!;
  throw new Damage(`${field.children.length} types of what the ${typeName(field)} "${field.name}" holds`);
}

function atLeast(bytes: Uint8Array, needed: number): Uint8Array {
  if (bytes.length >= needed) return bytes;
  throw new Damage(`a buffer of ${bytes.length} bytes where ${needed} are needed`);
}

/** Offsets that ascend from 0 or more to no more than `end`. */
function within(offsets: ArrayLike<number>, end: number, { name }: Field): ArrayLike<number> {
  let last = 0;
  for (let i = 0; i < offsets.length; i++) {
    const offset = offsets[i]!;
    if (offset < last || offset > end)
      throw new Damage(`row ${Math.max(0, i - 1)} of "${name}" from ${last} to ${offset} of ${end}`);
    last = offset;
  }
  return offsets;
}

/** A view on the bytes. */
function numbersOf(bytes: Uint8Array, length: number, { kind, size, signed }: Type): Numbers {
  const { buffer, byteOffset } = bytes as Uint8Array<ArrayBuffer>;
  if (endianness() !== 'LE')
    internal('Arrow files are little-endian, and so is every machine Node runs on today');
  if (kind === 'float') {
    if (size === 16) return new Uint16Array(buffer, byteOffset, length);
    return size === 32
      ? new Float32Array(buffer, byteOffset, length)
      : new Float64Array(buffer, byteOffset, length);
  }
  if (size === 8) return new (signed ? Int8Array : Uint8Array)(buffer, byteOffset, length);
  if (size === 16) return new (signed ? Int16Array : Uint16Array)(buffer, byteOffset, length);
  if (size === 32) return new (signed ? Int32Array : Uint32Array)(buffer, byteOffset, length);
  return new (signed ? BigInt64Array : BigUint64Array)(buffer, byteOffset, length);
}
