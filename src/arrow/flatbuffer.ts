/**
 * @file Flatbuffers, read with suspicion: each offset, count and length is held against the bytes that are there before it
 * is followed, and every table that is entered is paid for from a budget that the size of the message sets, so that neither
 * loops nor tables that share their children can make a small message long. What does not fit is a {@link Damage}.
 */

/** Bytes that are not what they say; whoever knows the file makes a lesson of it. */
export class Damage extends Error {
  override readonly name = 'Damage';
}

/** The smallest table: no more than the offset of its vtable, which it may share. */
const TABLE_BYTES = 4;

/** A message's bytes. */
class Bytes {
  readonly view: DataView;
  #tables: number;

  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#tables = Math.ceil(bytes.byteLength / TABLE_BYTES);
  }

  /** The place, if `length` bytes lie there. */
  at(place: number, length: number): number {
    if (place >= 0 && length >= 0 && place + length <= this.view.byteLength) return place;
    throw new Damage(`${this.view.byteLength} bytes that point to ${length} at byte ${place} of themselves`);
  }

  uint32(place: number): number {
    return this.view.getUint32(this.at(place, 4), true);
  }

  /** An integer of 64 bits that counts or points: below 2^53. */
  int64(place: number): number {
    const value = this.view.getBigInt64(this.at(place, 8), true);
    if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
    throw new Damage(`the number ${value} at byte ${place} of a message`);
  }

  enter(): void {
    if (--this.#tables < 0) throw new Damage(`more tables than ${this.view.byteLength} bytes can hold`);
  }
}

/** A table of a flatbuffer; fields go by their number in the schema. */
export class Table {
  readonly #bytes: Bytes;
  readonly #at: number;
  readonly #vtable: number;
  readonly #vtableBytes: number;

  private constructor(bytes: Bytes, at: number) {
    bytes.enter();
    this.#bytes = bytes;
    this.#at = bytes.at(at, 4);
    this.#vtable = bytes.at(at - bytes.view.getInt32(at, true), 4);
    this.#vtableBytes = bytes.view.getUint16(this.#vtable, true);
    bytes.at(this.#vtable, this.#vtableBytes);
  }

  /** The table that a message begins with. @throws Damage */
  static root(message: Uint8Array): Table {
    const bytes = new Bytes(message);
    return new Table(bytes, bytes.uint32(0));
  }

  /** Where a field's value lies, if it has one. */
  #field(number: number, length: number): number | undefined {
    const entry = 4 + 2 * number;
    if (entry + 2 > this.#vtableBytes) return undefined;
    const offset = this.#bytes.view.getUint16(this.#vtable + entry, true);
    return offset === 0 ? undefined : this.#bytes.at(this.#at + offset, length);
  }

  uint8(field: number): number {
    const at = this.#field(field, 1);
    return at === undefined ? 0 : this.#bytes.view.getUint8(at);
  }

  int16(field: number): number {
    const at = this.#field(field, 2);
    return at === undefined ? 0 : this.#bytes.view.getInt16(at, true);
  }

  int32(field: number): number {
    const at = this.#field(field, 4);
    return at === undefined ? 0 : this.#bytes.view.getInt32(at, true);
  }

  /** A count or place of 64 bits. @throws Damage if negative or not below 2^53 */
  int64(field: number): number {
    const at = this.#field(field, 8);
    return at === undefined ? 0 : this.#bytes.int64(at);
  }

  table(field: number): Table | undefined {
    const at = this.#field(field, 4);
    return at === undefined ? undefined : new Table(this.#bytes, at + this.#bytes.uint32(at));
  }

  /** A field that has to be there. */
  needed(field: number, name: string): Table {
    const table = this.table(field);
    if (table) return table;
    throw new Damage(`a message without its ${name}`);
  }

  text(field: number): string {
    const { at, count } = this.#vector(field, 1);
    const { buffer, byteOffset } = this.#bytes.view;
    return Buffer.from(buffer, byteOffset + at, count).toString('utf8');
  }

  tables(field: number): Table[] {
    const { at, count } = this.#vector(field, 4);
    return Array.from({ length: count }, (_, i) => {
      const entry = at + 4 * i;
      return new Table(this.#bytes, entry + this.#bytes.uint32(entry));
    });
  }

  /** A vector of structs, each made of numbers of 64 bits (a shorter one is padded to as much): [count][numbers]. */
  structs(field: number, numbers: number): number[][] {
    const { at, count } = this.#vector(field, 8 * numbers);
    return Array.from({ length: count }, (_, i) =>
      Array.from({ length: numbers }, (_, j) => this.#bytes.int64(at + 8 * (numbers * i + j))),
    );
  }

  #vector(field: number, itemBytes: number): { at: number; count: number } {
    const offset = this.#field(field, 4);
    if (offset === undefined) return { at: 0, count: 0 };
    const at = offset + this.#bytes.uint32(offset);
    const count = this.#bytes.uint32(at);
    return { at: this.#bytes.at(at + 4, count * itemBytes), count };
  }
}
