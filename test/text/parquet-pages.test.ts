/** @file What a Parquet page says of itself, against what it holds. Pages are written by hand in Thrift's compact protocol. */
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { checkPages, MOST_BYTES, MOST_VALUES } from '../../src/text/formats/parquet-pages.ts';

const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
/** The next field but `skip`, an int32. */
const int32 = (value: number, skip = 0) => [
  ((1 + skip) << 4) | 5,
  ...varint(value >= 0 ? 2 * value : -2 * value - 1),
];
/** A data page of entries of a dictionary. */
function page(values: number, body: number[], bytes = body.length, packed = body.length): Uint8Array {
  const about = [(2 << 4) | 12, ...int32(values), ...int32(8), 0];
  return Uint8Array.from([...int32(0), ...int32(bytes), ...int32(packed), ...about, 0, ...body]);
}
const flat = { repetition: 0, definition: 0, unpack: undefined };
const run = (count: number, value = 1) => [...varint(2 * count), value];
const packedRun = (groups: number, bytes: number[]) => [...varint(2 * groups + 1), ...bytes];

test('what fits is passed', () => {
  expect(checkPages(page(10, [1, ...run(10)]), flat)).toEqual([]);
  expect(checkPages(page(10, [1, ...run(3), ...packedRun(1, [0x55])]), flat)).toEqual([]);
  const levels = [...run(10)];
  const withLevels = page(10, [levels.length, 0, 0, 0, ...levels, 1, ...run(10)]);
  expect(checkPages(withLevels, { ...flat, definition: 1 })).toEqual([]);
  expect(checkPages(page(0, [0], 5), { ...flat, unpack: () => new Uint8Array(5) })).toEqual([
    new Uint8Array(5),
  ]);
});

test.each<[string, Uint8Array, RegExp]>([
  ['an entry repeated a billion times', page(10, [1, ...run(2 ** 30)]), /a run of 1073741824 of 10 values/],
  [
    'packed entries of no bits',
    page(10, [0, ...packedRun(2 ** 30, [])]),
    /a run of 4294967295|a run of \d+ of 10/,
  ],
  ['more values than a row group may have', page(MOST_VALUES + 1, [1, 2, 1]), /more than 67108864 values/],
  ['more bytes than a row group may have', page(1, [1, 2, 1], MOST_BYTES + 1), /more than 1073741824 bytes/],
  ['a page beyond the end', page(1, [1, 2, 1], 3, 4000), /a page of 4000 bytes/],
  ['a negative size', page(1, [1, 2, 1], -3), /the number -3/],
  ['entries of 200 bits', page(1, [200, 2, 1]), /in 200 bits/],
  ['a header without end', Uint8Array.from([0x15, 0x80, 0x80]), /beyond its column/],
  ['a header nested without end', new Uint8Array(1000).fill(0x1c), /nested too deep/],
])('refused: %s', (_what, chunk, message) => {
  expect(() => checkPages(chunk, flat)).toThrow(message);
});

test('levels that are longer than their page, or repeated too often, are refused', () => {
  const storage = { ...flat, repetition: 1 };
  expect(() => checkPages(page(10, [255, 255, 255, 127, 2, 1]), storage)).toThrow(
    /levels of 2147483647 bytes/,
  );
  const many = run(2 ** 29);
  expect(() => checkPages(page(10, [many.length, 0, 0, 0, ...many]), storage)).toThrow(/a run of 536870912/);
});

test('a size is looked at before anything is unpacked', () => {
  const unpack = () => expect.unreachable('unpacked');
  const bomb = page(1, [...gzipSync('x')], MOST_BYTES + 1);
  expect(() => checkPages(bomb, { ...flat, unpack })).toThrow(/row group/);
});
