/**
 * @file The pages of a Parquet column, looked at before hyparquet reads them: it believes what a page says of its size, of
 * how many values it has and of how often one of them is repeated, so that a few damaged bytes could fill the memory or
 * keep it busy for ever. Here each of these is held against the bytes of the page and against what one row group may hold.
 */

/** Bytes of a column of a row group when unpacked, and its values (a page of equal ones takes no bytes). 1 GiB, 67 million. */
export const MOST_BYTES = 2 ** 30;
export const MOST_VALUES = 2 ** 26;

/** How a column is stored. */
export interface Storage {
  /** Levels of lists and of what may be null, from the schema. */
  repetition: number;
  definition: number;
  /** Undefined where pages are not compressed. */
  unpack: ((packed: Uint8Array, length: number) => Uint8Array) | undefined;
}

/** Types of pages and encodings that count here, by their numbers in parquet.thrift. */
const [DATA, DICTIONARY, DATA_V2] = [0, 2, 3];
const DICTIONARY_ENCODINGS = [2, 8];

/**
 * Checks all pages of a column of one row group.
 * @returns the pages of compressed columns, unpacked, in their order
 * @throws Error that says what is wrong
 */
export function checkPages(chunk: Uint8Array, storage: Storage): Uint8Array[] {
  const unpacked: Uint8Array[] = [];
  const sum = { bytes: 0, values: 0 };
  for (let at = 0; at < chunk.length - 1; ) {
    const reader = new Thrift(chunk, at);
    const header = reader.struct(8);
    const [type, bytes, packed] = [integer(header[1]), integer(header[2]), integer(header[3])];
    at = reader.at + packed;
    if (at > chunk.length) throw new Error(`a page of ${packed} bytes, beyond the end of its column`);
    sum.bytes += bytes;
    const about = header[type === DATA ? 5 : type === DICTIONARY ? 7 : 8] as Struct | undefined;
    sum.values += integer(about?.[1]);
    if (sum.bytes > MOST_BYTES) throw tooMuch(`${MOST_BYTES} bytes`, sum.bytes);
    if (sum.values > MOST_VALUES) throw tooMuch(`${MOST_VALUES} values`, sum.values);
    const body = chunk.subarray(reader.at, at);
    const v2 = type === DATA_V2 && about ? about : undefined;
    const levels = v2 ? checkLevelsV2(body, v2, storage) : 0;
    const isPacked = storage.unpack !== undefined && v2?.[7] !== false;
    const page = isPacked ? storage.unpack!(body.subarray(levels), bytes - levels) : body.subarray(levels);
    if (isPacked) unpacked.push(page);
    if (type === DATA && about) checkValues(page, checkLevels(page, integer(about[1]), storage), about, 2);
    if (v2) checkValues(page, 0, v2, 4);
  }
  return unpacked;
}

const tooMuch = (most: string, found: number) =>
  new Error(`a row group with more than ${most} in a column (${found}): write it with smaller row groups`);

/** Levels in front of a page's values, each with its length. @returns where the values begin */
function checkLevels(page: Uint8Array, values: number, { repetition, definition }: Storage): number {
  let at = 0;
  for (const most of [repetition, definition]) {
    if (most === 0) continue;
    if (at + 4 > page.length) throw new Error('a page that ends before its levels');
    const length = new DataView(page.buffer, page.byteOffset + at, 4).getUint32(0, true);
    if (at + 4 + length > page.length)
      throw new Error(`levels of ${length} bytes in a page of ${page.length}`);
    checkRuns(page.subarray(at + 4, at + 4 + length), widthOf(most), values);
    at += 4 + length;
  }
  return at;
}

/** Levels of the second version, which are not compressed. @returns their bytes */
function checkLevelsV2(body: Uint8Array, about: Struct, { repetition, definition }: Storage): number {
  const [definitions, repetitions] = [integer(about[5]), integer(about[6])];
  if (definitions + repetitions > body.length)
    throw new Error(`levels of ${definitions + repetitions} bytes`);
  const values = integer(about[1]);
  if (integer(about[2]) > values) throw new Error(`${about[2]} nulls of ${values} values`);
  if (repetition) checkRuns(body.subarray(0, repetitions), widthOf(repetition), values);
  if (definition)
    checkRuns(body.subarray(repetitions, repetitions + definitions), widthOf(definition), values);
  return definitions + repetitions;
}

/** Indices of a dictionary; other encodings take at least a bit a value, and hyparquet stops at the end of the page. */
function checkValues(page: Uint8Array, at: number, about: Struct, encoding: number): void {
  if (!DICTIONARY_ENCODINGS.includes(integer(about[encoding])) || at >= page.length) return;
  const width = page[at]!;
  if (width > 32) throw new Error(`entries of a dictionary in ${width} bits`);
  checkRuns(page.subarray(at + 1), width, integer(about[1]));
}

const widthOf = (most: number) => 32 - Math.clz32(most);

/** Runs of repeated or packed numbers must not hold more than there are; packed ones are filled up to eight, or a few times it. */
function checkRuns(bytes: Uint8Array, width: number, count: number): void {
  const reader = new Thrift(bytes, 0);
  for (let seen = 0; seen < count && reader.at < bytes.length; ) {
    const header = reader.varint();
    const isPacked = (header & 1) === 1;
    const run = isPacked ? (header >>> 1) * 8 : header >>> 1;
    if (run > count - seen + (isPacked ? 512 : 0)) throw new Error(`a run of ${run} of ${count} values`);
    reader.at += isPacked ? (header >>> 1) * width : Math.ceil(width / 8);
    seen += run;
  }
}

/** Fields by their numbers; what is not needed here is passed over. */
type Value = number | boolean | Struct | undefined;
interface Struct {
  [field: number]: Value;
}

function integer(value: Value): number {
  if (value === undefined) return 0;
  if (typeof value === 'number' && value >= 0) return value;
  throw new Error(`a page with the number ${String(value)}`);
}

/** The compact protocol of Thrift. */
class Thrift {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  byte(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new Error('a page header that goes on beyond its column');
    return byte;
  }

  /** Up to 32 bits. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.byte();
      if (shift < 35) value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value > 0xffffffff ? 0xffffffff : value;
    }
    throw new Error('a number of more than ten bytes');
  }

  /** @param levels of structs in structs that are followed */
  struct(levels: number): Struct {
    if (levels === 0) throw new Error('a page header that is nested too deep');
    const fields: Struct = {};
    for (let field = 0; ; ) {
      const byte = this.byte();
      if ((byte & 15) === 0) return fields;
      field = byte >> 4 ? field + (byte >> 4) : this.#zigzag();
      fields[field] = this.#value(byte & 15, levels);
    }
  }

  #zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  #value(type: number, levels: number): Value {
    if (type === 1 || type === 2) return type === 1;
    if (type === 3) return this.byte();
    if (type <= 6) return this.#zigzag();
    if (type === 12) return this.struct(levels - 1);
    if (type !== 7 && type !== 8) throw new Error(`a page header with a value of the unknown type ${type}`);
    const length = type === 7 ? 8 : this.varint();
    this.at += length;
    return undefined;
  }
}
