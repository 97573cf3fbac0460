/**
 * @file Columns of other programs' activation tables as rows of ours. Which column is what: lists of floats are
 * activations, under the column's name; `token_ids` or `token_id` are tokens; `pos` and `seq_id` are taken if they are
 * there, else a context's rows are numbered from 0 and contexts in order of the file. A column that is there is taken
 * exactly, whatever integers it is made of, or refused by name: nothing stands in for it.
 */
import { type Column, isNull, type Numbers } from '../arrow/column.ts';
import { type Field, typeName } from '../arrow/schema.ts';
import { UnfoldError } from '../errors.ts';
import type { ActivationBlock, HookWidth } from './block-source.ts';
import { fromHalf } from './float16.ts';

/** A record batch. */
export interface Table {
  /** The file. */
  where: string;
  fields: readonly Field[];
  rows: number;
  /** Reads the column with this index. */
  column(index: number): Promise<Column>;
}

/** What all batches have in common. */
export interface Shape {
  hooks: readonly HookWidth[];
  /** Rows of ours in one row of the table: a context's length, or 1. */
  context: number;
}

/** How a column's rows are made: one per table row (flat) or `context` per table row. */
interface Lists {
  /** [table rows × context, width] */
  values: Numbers;
  width: number;
  context: number;
}

const TOKENS = ['token_ids', 'token_id'];

/** True if there is a column of tokens. */
export const hasTokenColumn = (fields: readonly Field[]): boolean =>
  fields.some(({ name }) => TOKENS.includes(name));

/** The names of the activation columns. @throws UnfoldError if there are none, or two of a name */
export function activationFields({ fields, where }: Table): string[] {
  const names = fields.filter(isFloatList).map(({ name }) => name);
  const columns = fields.map((field) => `${field.name}: ${typeName(field)}`).join(', ');
  if (!names.length) throw badDataset(where, 'a column of float16 or float32 lists', columns || 'no columns');
  if (new Set(names).size < names.length) throw badDataset(where, 'columns of different names', columns);
  return names;
}

/** Widths and context's length, from a batch with rows. */
export async function shapeOf(table: Table, names: readonly string[]): Promise<Shape> {
  const hooks: HookWidth[] = [];
  let context = 1;
  for (const [i, name] of names.entries()) {
    const lists = await readLists(table, name);
    if (i === 0) context = lists.context;
    hooks.push({ name, width: lists.width });
  }
  return { hooks, context };
}

/** A batch as a block; its first context has the number `first`. */
export async function foreignBlock(
  table: Table,
  { hooks, context }: Shape,
  first: number,
): Promise<ActivationBlock> {
  const activations = new Map<string, Float32Array>();
  for (const hook of hooks) activations.set(hook.name, floatsOf(await likeFirst(table, hook, context)));
  const rows = table.rows * context;
  const each = { table, rows, context };
  return {
    rows,
    activations,
    tokenId: (await integers(each, TOKENS, Int32Array, 0x7fffffff)) ?? new Int32Array(rows).fill(-1),
    seqId:
      (await integers(each, ['seq_id'], Uint32Array, 0xffffffff)) ??
      Uint32Array.from({ length: rows }, (_, i) => first + Math.floor(i / context)),
    pos:
      (await integers(each, ['pos'], Uint16Array, 0xffff)) ??
      Uint16Array.from({ length: rows }, (_, i) => i % context),
  };
}

/** The lists of a hook, which have to be like those of the first batch. */
async function likeFirst(table: Table, { name, width }: HookWidth, context: number): Promise<Lists> {
  const lists = await readLists(table, name);
  if (lists.width === width && lists.context === context) return lists;
  const shape = (c: number, w: number) => (c === 1 ? `${w}` : `${c} x ${w}`);
  const found = `rows of ${shape(lists.context, lists.width)}`;
  throw badDataset(columnOf(table, name), `rows of ${shape(context, width)}, as at the beginning`, found);
}

/** Follows nested lists down to their floats; every level must have one length, and no nulls. */
async function readLists(table: Table, name: string): Promise<Lists> {
  const index = table.fields.findIndex((field) => field.name === name && isFloatList(field));
  if (index < 0)
    throw badDataset(columnOf(table, name), 'a column as in the first file', 'none of float lists');
  const lengths: number[] = [];
  let column = refuseNulls(await table.column(index), columnOf(table, name));
  let [begin, count] = [0, table.rows];
  while (column.child) {
    const span = listSpan(column, begin, count, columnOf(table, name));
    lengths.push(span.length);
    [begin, count] = [span.begin, count * span.length];
    column = refuseNulls(column.child, columnOf(table, name));
  }
  const width = lengths.at(-1)!;
  const context = lengths.slice(0, -1).reduce((product, length) => product * length, 1);
  if (width * context === 0) throw badDataset(columnOf(table, name), 'lists with items', 'empty lists');
  return { values: column.numbers!.subarray(begin, begin + count), width, context };
}

function refuseNulls(column: Column, where: string): Column {
  if (column.nulls === 0) return column;
  let first = 0;
  while (first < column.length && !isNull(column, first)) first++;
  throw badDataset(
    where,
    'no nulls',
    `${column.nulls} nulls, the first at ${first} of ${column.length} values`,
  );
}

const floatsOf = ({ values }: Lists): Float32Array =>
  values instanceof Float32Array ? values : fromHalf(values as Uint16Array);

/** The common length of the lists [begin, begin + count) and where their items start. */
function listSpan(
  { field, offsets }: Column,
  begin: number,
  count: number,
  where: string,
): { length: number; begin: number } {
  if (!offsets) return { length: field.type.size, begin: begin * field.type.size };
  const length = count ? offsets[begin + 1]! - offsets[begin]! : 0;
  for (let i = begin; i < begin + count; i++) {
    const found = offsets[i + 1]! - offsets[i]!;
    if (found === length) continue;
    const expected = `lists of one length (the first has ${length})`;
    throw badDataset(where, expected, `${found} items in row ${i - begin}`);
  }
  return { length, begin: offsets[begin] ?? 0 };
}

/** What a column of integers is read for. */
interface Each {
  table: Table;
  rows: number;
  context: number;
}

/**
 * An integer column: one a row of ours, flat or in lists, or one a context, which all of its rows then have.
 * @returns undefined if there is none of these names
 * @throws UnfoldError for a column of another type or length, for nulls, for a value above `most` or below 0
 */
async function integers<T extends Int32Array | Uint32Array | Uint16Array>(
  { table, rows, context }: Each,
  names: readonly string[],
  type: { from(values: ArrayLike<number>): T },
  most: number,
): Promise<T | undefined> {
  const index = table.fields.findIndex(({ name }) => names.includes(name));
  const field = table.fields[index];
  if (!field) return undefined;
  const where = columnOf(table, field.name);
  if (!isIntegers(field)) throw badDataset(where, 'integers', `the type ${typeName(field)}`);
  const found = integersIn(await table.column(index), table.rows, where);
  if (found.length !== rows && found.length !== table.rows)
    throw badDataset(where, `${rows} integers in a batch of ${table.rows} rows`, `${found.length}`);
  const repeat = found.length === rows ? 1 : context;
  const values = new Float64Array(rows);
  for (let i = 0; i < rows; i++) values[i] = Number(found[Math.floor(i / repeat)]);
  const wrong = values.findIndex((value) => value < 0 || value > most);
  if (wrong < 0) return type.from(values);
  throw badDataset(where, `integers from 0 to ${most}`, `${values[wrong]} in row ${wrong}`);
}

/** All integers of `rows` rows. */
function integersIn(top: Column, rows: number, where: string): Numbers {
  let column = refuseNulls(top, where);
  let [begin, end] = [0, rows];
  while (column.child) {
    const { offsets, field } = column;
    [begin, end] = offsets
      ? [offsets[begin]!, offsets[end]!]
      : [begin * field.type.size, end * field.type.size];
    column = refuseNulls(column.child, where);
  }
  return column.numbers!.subarray(begin, end);
}

const isList = ({ type, dictionary }: Field) =>
  dictionary === undefined && ['list', 'large_list', 'fixed_size_list'].includes(type.kind);

/** What lists of lists hold in the end; the column itself if it is none. */
function innermost(field: Field): Field {
  let inner = field;
  while (isList(inner) && inner.children[0]) inner = inner.children[0];
  return inner;
}

const isIntegers = (field: Field) => {
  const { type, dictionary } = innermost(field);
  return dictionary === undefined && type.kind === 'int';
};

function isFloatList(field: Field): boolean {
  const { type, dictionary } = innermost(field);
  return isList(field) && dictionary === undefined && type.kind === 'float' && type.size <= 32;
}

const columnOf = ({ where }: Table, name: string) => `${where}: column ${name}`;

/** What can be done about a folder of another program that is not as it should be. */
export const REMEDY =
  'save the dataset again (Dataset.save_to_disk), or harvest the activations with: unfold harvest';

/** A folder of another program that we cannot use. */
export function badDataset(where: string, expected: string, found: string): UnfoldError {
  return new UnfoldError('bad-dataset-folder', { where, expected, found, todo: REMEDY });
}
