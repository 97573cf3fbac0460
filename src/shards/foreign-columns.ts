/**
 * @file Columns of other programs' activation tables as rows of ours. Which column is what: lists of floats are
 * activations, under the column's name; `token_ids` or `token_id` are tokens; `pos` and `seq_id` are taken if they are
 * there, else a context's rows are numbered from 0 and contexts in order of the file.
 */
import { type Data, DataType, FixedSizeList, List, Precision, type RecordBatch } from 'apache-arrow';
import { UnfoldError } from '../errors.ts';
import type { ActivationBlock, HookWidth } from './block-source.ts';
import { fromHalf } from './float16.ts';

/** How a column's rows are made: one per table row (flat) or `context` per table row. */
interface Lists {
  /** [table rows × context, width] */
  values: Float32Array;
  width: number;
  context: number;
}

/** The activation columns of a table, with their widths. */
export function activationColumns(batch: RecordBatch, where: string): HookWidth[] {
  const names = batch.schema.fields.filter(({ type }) => isFloatList(type)).map(({ name }) => name);
  const columns = batch.schema.fields.map((field) => `${field.name}: ${field.type}`).join(', ');
  if (!names.length) throw badDataset(where, 'a column of float16 or float32 lists', columns);
  return names.map((name) => ({ name, width: readLists(batch, name, where).width }));
}

/** Rows of ours in one row of the table: the context's length where a row is a context, else 1. */
export function contextLength(batch: RecordBatch, hooks: readonly HookWidth[], where: string): number {
  return readLists(batch, hooks[0]!.name, where).context;
}

/** A batch as a block. Contexts are numbered from `firstRow` divided by the context's length. */
export function foreignBlock(
  batch: RecordBatch,
  hooks: readonly HookWidth[],
  firstRow: number,
  where: string,
): ActivationBlock {
  const lists = hooks.map(({ name, width }) => ({
    name,
    ...checkWidth(readLists(batch, name, where), width, name, where),
  }));
  const context = lists[0]!.context;
  if (lists.some((list) => list.context !== context)) {
    throw badDataset(where, 'columns with the same number of rows', 'contexts of different lengths');
  }
  const rows = batch.numRows * context;
  const first = firstRow / context;
  const number = (i: number) => first + Math.floor(i / context);
  return {
    rows,
    activations: new Map(lists.map(({ name, values }) => [name, values])),
    tokenId: integers(batch, ['token_ids', 'token_id'], rows, Int32Array) ?? new Int32Array(rows),
    seqId:
      integers(batch, ['seq_id'], rows, Uint32Array) ??
      Uint32Array.from({ length: rows }, (_, i) => number(i)),
    pos:
      integers(batch, ['pos'], rows, Uint16Array) ??
      Uint16Array.from({ length: rows }, (_, i) => i % context),
  };
}

function checkWidth(lists: Lists, width: number, name: string, where: string): Lists {
  if (lists.width === width) return lists;
  throw badDataset(where, `rows of ${width} in ${name}, as in the first batch`, `rows of ${lists.width}`);
}

/** Follows nested lists down to their floats; every level must have one length. */
function readLists(batch: RecordBatch, name: string, where: string): Lists {
  let data: Data = batch.getChild(name)!.data[0]!;
  const lengths: number[] = [];
  let [begin, count] = [0, batch.numRows];
  while (DataType.isList(data.type) || DataType.isFixedSizeList(data.type)) {
    if (data.nullCount > 0)
      throw badDataset(`${where}: column ${name}`, 'no nulls', `${data.nullCount} nulls`);
    const span = listSpan(data, begin, count, `${where}: column ${name}`);
    lengths.push(span.length);
    [begin, count] = [span.begin, count * span.length];
    data = data.children[0]!;
  }
  const values: unknown = data.values;
  const floats = values instanceof Float32Array ? values : fromHalf(values as Uint16Array);
  const width = lengths.at(-1)!;
  const context = lengths.length > 1 ? lengths[0]! : 1;
  return { values: floats.subarray(begin, begin + count), width, context };
}

/** The common length of the lists [begin, begin + count) and where their items start. */
function listSpan(
  data: Data,
  begin: number,
  count: number,
  where: string,
): { length: number; begin: number } {
  if (DataType.isFixedSizeList(data.type)) {
    const length = data.type.listSize;
    return { length, begin: begin * length };
  }
  const offsets = data.valueOffsets as Int32Array;
  const length = count ? offsets[begin + 1]! - offsets[begin]! : 0;
  for (let i = begin; i < begin + count; i++) {
    const found = offsets[i + 1]! - offsets[i]!;
    if (found === length) continue;
    throw badDataset(
      where,
      `lists of one length (the first has ${length})`,
      `${found} items in row ${i - begin}`,
    );
  }
  return { length, begin: offsets[begin] ?? 0 };
}

/** An integer column, flat or one list a row, with `rows` entries in all; nothing if there is none that fits. */
function integers<T extends Int32Array | Uint32Array | Uint16Array>(
  batch: RecordBatch,
  names: readonly string[],
  rows: number,
  type: { from(values: ArrayLike<number>): T },
): T | undefined {
  for (const name of names) {
    let data: Data | undefined = batch.getChild(name)?.data[0];
    while (data && (data.type instanceof List || data.type instanceof FixedSizeList)) data = data.children[0];
    const values: unknown = data?.values;
    if (!(values instanceof Int32Array || values instanceof Uint32Array || values instanceof Uint16Array))
      continue;
    if (values.length >= rows) return type.from(values.subarray(0, rows));
  }
  return undefined;
}

function isFloatList(type: DataType): boolean {
  let item: DataType | undefined = type;
  if (!DataType.isList(item) && !DataType.isFixedSizeList(item)) return false;
  while (DataType.isList(item) || DataType.isFixedSizeList(item)) item = item.children[0]?.type;
  return DataType.isFloat(item) && item.precision !== Precision.DOUBLE;
}

/** A folder of another program that we cannot use. */
export function badDataset(where: string, expected: string, found: string, cause?: unknown): UnfoldError {
  const todo =
    'save the dataset again (Dataset.save_to_disk), or harvest the activations with: unfold harvest';
  return new UnfoldError('bad-dataset-folder', { where, expected, found, todo, cause });
}
