/**
 * @file The columns of an Arrow file: names and types, from the flatbuffer of a schema (format/Schema.fbs). Types that
 * Unfold reads no values of are known by name and by how many nodes and buffers they take, so that they can be passed over.
 */
import { Damage, type Table } from './flatbuffer.ts';

/** A column, or what a column's lists hold. */
export interface Field {
  name: string;
  type: Type;
  children: Field[];
  /** Values are numbers of entries of the dictionary `id`. */
  dictionary: { id: number; index: Type } | undefined;
}

/** What the values are. */
export interface Type {
  kind: Kind;
  /** Bits of an int or float, items of a fixed-size list. */
  size: number;
  signed: boolean;
  /** Buffers that a column of this type has, before variadic ones. */
  buffers: number;
}

/** The types in the order of format/Schema.fbs, with the buffers of each (unions: of a sparse one). */
const KINDS = [
  ['none', 0],
  ['null', 0],
  ['int', 2],
  ['float', 2],
  ['binary', 3],
  ['utf8', 3],
  ['bool', 2],
  ['decimal', 2],
  ['date', 2],
  ['time', 2],
  ['timestamp', 2],
  ['interval', 2],
  ['list', 2],
  ['struct', 1],
  ['union', 1],
  ['fixed_size_binary', 2],
  ['fixed_size_list', 1],
  ['map', 2],
  ['duration', 2],
  ['large_binary', 3],
  ['large_utf8', 3],
  ['large_list', 2],
  ['run_end_encoded', 0],
  ['binary_view', 2],
  ['utf8_view', 2],
  ['list_view', 3],
  ['large_list_view', 3],
] as const;
export type Kind = (typeof KINDS)[number][0];

/** Kinds whose columns have buffers besides, counted by the batch. */
export const VARIADIC: ReadonlySet<Kind> = new Set(['binary_view', 'utf8_view']);

/** Levels of lists in lists. The deepest that anybody writes has 5. */
const MOST_LEVELS = 64;

/** Fields of the tables, by their numbers. */
const SCHEMA = { endianness: 0, fields: 1 };
const FIELD = { name: 0, kind: 2, type: 3, dictionary: 4, children: 5 };
const DICTIONARY = { id: 0, index: 1 };

/** The columns that a schema names. @param version of the metadata, 3 for Arrow 0.8 to 0.17, 4 since. @throws Damage */
export function readSchema(schema: Table, version: number): Field[] {
  if (schema.int16(SCHEMA.endianness) !== 0) throw new Damage('numbers in big-endian order');
  return schema.tables(SCHEMA.fields).map((field) => readField(field, version, MOST_LEVELS));
}

function readField(field: Table, version: number, levels: number): Field {
  if (levels === 0) throw new Damage(`columns nested in more than ${MOST_LEVELS} levels`);
  const dictionary = field.table(FIELD.dictionary);
  return {
    name: field.text(FIELD.name),
    type: readType(field.uint8(FIELD.kind), field.table(FIELD.type), version),
    children: field.tables(FIELD.children).map((child) => readField(child, version, levels - 1)),
    dictionary: dictionary && {
      id: dictionary.int64(DICTIONARY.id),
      index: indexType(dictionary.table(DICTIONARY.index), version),
    },
  };
}

/** Unless it says otherwise a dictionary's index is an int32. */
function indexType(table: Table | undefined, version: number): Type {
  return table ? readType(2, table, version) : { kind: 'int', size: 32, signed: true, buffers: 2 };
}

function readType(number: number, table: Table | undefined, version: number): Type {
  const known = KINDS[number];
  if (!known || number === 0) throw new Damage(`a column of the unknown type ${number}`);
  const [kind, buffers] = known;
  const type = { kind, size: 0, signed: false, buffers };
  if (kind === 'int') return { ...type, size: bits(table, 0), signed: table?.uint8(1) === 1 };
  if (kind === 'float') return { ...type, size: 16 << Math.min(3, Math.max(0, table?.int16(0) ?? 0)) };
  if (kind === 'fixed_size_list') return { ...type, size: table?.int32(0) ?? 0 };
  if (kind === 'union') return { ...type, buffers: unionBuffers(table, version) };
  return type;
}

function bits(table: Table | undefined, field: number): number {
  const found = table?.int32(field) ?? 0;
  if ([8, 16, 32, 64].includes(found)) return found;
  throw new Damage(`integers of ${found} bits`);
}

/** Types, offsets where the union is dense, validity in old files. */
const unionBuffers = (table: Table | undefined, version: number): number =>
  1 + (table?.int16(0) === 1 ? 1 : 0) + (version < 4 ? 1 : 0);

/** A type as Python writes it: `list<float>`, `dictionary<int64, utf8>`. */
export function typeName({ type, children, dictionary }: Field): string {
  const name =
    type.kind === 'int'
      ? `${type.signed ? '' : 'u'}int${type.size}`
      : type.kind === 'float'
        ? `float${type.size}`
        : type.kind;
  const inner = children.length > 0 ? `<${children.slice(0, 3).map(typeName).join(', ')}>` : '';
  const size = type.kind === 'fixed_size_list' ? `[${type.size}]` : '';
  const index = dictionary && `${dictionary.index.signed ? '' : 'u'}int${dictionary.index.size}`;
  return index ? `dictionary<${index}, ${name}${inner}>` : `${name}${inner}${size}`;
}
