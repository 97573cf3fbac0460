/**
 * @file Values of text and token columns, row by row, through dictionaries where there are any.
 */
import { type Column, isNull, type Numbers } from './column.ts';
import { Damage } from './flatbuffer.ts';

/** Entries of a dictionary: what was said first, then what was added. */
export type Dictionary = readonly Column[];

/** The UTF-8 of a text cell, or null. @param dictionary where the column has one. @throws Damage */
export function textBytes(column: Column, i: number, dictionary?: Dictionary): Uint8Array | null {
  if (isNull(column, i)) return null;
  if (column.field.dictionary) return throughDictionary(column, i, dictionary, textBytes);
  const { offsets, bytes } = column;
  return offsets ? bytes[0]!.subarray(offsets[i]!, offsets[i + 1]!) : viewBytes(column, i);
}

/** The numbers of a list cell, or null; a null among them is null, too. @throws Damage */
export function listNumbers(
  column: Column,
  i: number,
  dictionary?: Dictionary,
): Numbers | (number | bigint | null)[] | null {
  if (isNull(column, i)) return null;
  if (column.field.dictionary) return throughDictionary(column, i, dictionary, listNumbers);
  const { offsets, child, field } = column;
  const [from, to] = offsets
    ? [offsets[i]!, offsets[i + 1]!]
    : [i * field.type.size, (i + 1) * field.type.size];
  const numbers = child!.numbers!.subarray(from, to);
  if (child!.validity === undefined) return numbers;
  return Array.from(numbers as ArrayLike<number | bigint>, (n, j) => (isNull(child!, from + j) ? null : n));
}

function throughDictionary<T>(
  column: Column,
  i: number,
  dictionary: Dictionary | undefined,
  cell: (column: Column, i: number) => T,
): T {
  const index = Number(column.numbers![i]);
  let entry = index;
  for (const part of dictionary ?? []) {
    if (entry >= 0 && entry < part.length) return cell(part, entry);
    entry -= part.length;
  }
  const count = (dictionary ?? []).reduce((sum, { length }) => sum + length, 0);
  throw new Damage(`row ${i} of "${column.field.name}" has entry ${index} of a dictionary of ${count}`);
}

/** A view of 16 bytes: its length, then up to 12 bytes themselves, or four of them, a buffer's number and a place in it. */
function viewBytes({ bytes, field }: Column, i: number): Uint8Array {
  const views = bytes[0]!;
  const view = new DataView(views.buffer, views.byteOffset + 16 * i, 16);
  const length = view.getInt32(0, true);
  if (length >= 0 && length <= 12) return views.subarray(16 * i + 4, 16 * i + 4 + length);
  const [buffer, offset] = [bytes[1 + view.getInt32(8, true)], view.getInt32(12, true)];
  if (
    length > 0 &&
    buffer !== undefined &&
    buffer !== views &&
    offset >= 0 &&
    offset + length <= buffer.length
  )
    return buffer.subarray(offset, offset + length);
  throw new Damage(`row ${i} of "${field.name}" with ${length} bytes that are in no buffer`);
}
