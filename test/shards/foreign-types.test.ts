/** @file Columns of other programs' tables, whatever they are made of: taken exactly, or refused by name. */
import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  Bool,
  type DataType,
  Field,
  FixedSizeList,
  Float32,
  Float64,
  Int8,
  Int32,
  Int64,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Uint8,
  Uint16,
  Uint64,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import { openShards } from '../../src/shards/reader.ts';
import { folder } from './helpers.ts';

/** A column: its type and its values, as vectorFromArray takes them. */
type Column = [DataType, unknown[]];

const floats: Column = [
  new FixedSizeList(2, new Field('item', new Float32(), true)),
  [
    [1, 2],
    [3, 4],
    [5, 6],
  ],
];
const listOf = (type: DataType) => new List(new Field('item', type, true));

/** A `datasets` folder of one batch with these columns. */
async function save(columns: Record<string, Column>, format: 'stream' | 'file' = 'stream'): Promise<string> {
  const dir = await folder();
  const fields = Object.entries(columns).map(([name, [type]]) => new Field(name, type, true));
  const children = Object.values(columns).map(([type, values]) => vectorFromArray(values, type).data[0]!);
  const schema = new Schema(fields);
  const length = Object.values(columns)[0]![1].length;
  const batch = new RecordBatch(schema, makeData({ type: new Struct(fields), length, children }));
  await writeFile(join(dir, 'data.arrow'), tableToIPC(new Table(schema, [batch]), format));
  await writeFile(join(dir, 'state.json'), '{"_data_files": [{"filename": "data.arrow"}]}');
  return dir;
}

const block = async (columns: Record<string, Column>) => (await openShards(await save(columns))).readBlock(0);

describe('integers', () => {
  const big = [70n, 71n, 72n];
  test.each([
    ['int64', new Int64(), big],
    ['uint64', new Uint64(), big],
    ['int8', new Int8(), [70, 71, 72]],
    ['uint8', new Uint8(), [70, 71, 72]],
    ['uint16', new Uint16(), [70, 71, 72]],
  ] as const)('of type %s are taken exactly', async (_name, type, values) => {
    const column: Column = [type, [...values]];
    const found = await block({ acts: floats, token_id: column, pos: column, seq_id: column });
    expect(found.tokenId).toEqual(Int32Array.of(70, 71, 72));
    expect(found.pos).toEqual(Uint16Array.of(70, 71, 72));
    expect(found.seqId).toEqual(Uint32Array.of(70, 71, 72));
    expect([...found.activations.get('acts')!]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('in lists of any type are taken, and one number a context counts for all of its rows', async () => {
    const acts: Column = [listOf(floats[0]), [floats[1].slice(0, 2), floats[1].slice(1, 3)]];
    const found = await block({
      acts,
      token_ids: [
        listOf(new Int64()),
        [
          [1n, 2n],
          [3n, 4n],
        ],
      ],
      seq_id: [new Int64(), [8n, 9n]],
    });
    expect(found.tokenId).toEqual(Int32Array.of(1, 2, 3, 4));
    expect(found.seqId).toEqual(Uint32Array.of(8, 8, 9, 9));
    expect(found.pos).toEqual(Uint16Array.of(0, 1, 0, 1));
  });

  test.each<[string, string, Column, RegExp]>([
    ['floats', 'token_id', [new Float64(), [1, 2, 3]], /integers[\s\S]*float64/],
    ['text', 'token_id', [new Utf8(), ['a', 'b', 'c']], /integers[\s\S]*utf8/],
    ['booleans', 'pos', [new Bool(), [true, false, true]], /integers[\s\S]*bool/],
    ['lists of text', 'pos', [listOf(new Utf8()), [['NN'], ['VB'], []]], /list<utf8>/],
    ['a null', 'token_id', [new Int64(), [1n, null, 3n]], /no nulls[\s\S]*1 nulls, the first at 1/],
    ['a number below 0', 'token_id', [new Int64(), [1n, -2n, 3n]], /from 0 to 2147483647[\s\S]*-2 in row 1/],
    ['a number above int32', 'token_id', [new Int64(), [1n, 2n, 2n ** 31n]], /2147483648 in row 2/],
    ['a position above uint16', 'pos', [new Int32(), [1, 65536, 3]], /65536 in row 1/],
    ['a negative sequence', 'seq_id', [new Int32(), [-1, 0, 1]], /-1 in row 0/],
    ['too many', 'token_id', [listOf(new Int32()), [[1, 2], [3], [4]]], /3 integers[\s\S]*found +4/],
    ['too few', 'token_id', [listOf(new Int32()), [[1], [], [4]]], /3 integers[\s\S]*found +2/],
  ])('refused by name: %s', async (_what, name, column, message) => {
    const error = await block({ acts: floats, [name]: column }).catch((e: Error) => e);
    expect(error).toMatchObject({
      kind: 'bad-dataset-folder',
      lesson: { where: expect.stringMatching(new RegExp(`data\\.arrow: column ${name}$`)) },
      message: expect.stringMatching(message),
    });
  });
});

test.each<[string, Column, RegExp]>([
  [
    'a null among floats',
    [
      floats[0],
      [
        [1, 2],
        [null, 4],
        [5, 6],
      ],
    ],
    /column acts[\s\S]*no nulls/,
  ],
  [
    'a null in a list of floats',
    [
      listOf(new Float32()),
      [
        [1, 2],
        [3, null],
        [5, 6],
      ],
    ],
    /no nulls/,
  ],
  ['a null row', [floats[0], [[1, 2], null, [5, 6]]], /no nulls/],
  ['a row that is longer', [listOf(new Float32()), [[1], [2, 3], [4]]], /2 items in row 1/],
  ['empty rows', [listOf(new Float32()), [[], [], []]], /lists with items/],
  ['float64', [listOf(new Float64()), [[1], [2], [3]]], /acts: list<float64>/],
])('activations are refused for %s', async (_what, acts, message) => {
  await expect(save({ acts }).then(openShards)).rejects.toMatchObject({
    kind: 'bad-dataset-folder',
    message: expect.stringMatching(message),
  });
});

test('the file format is read as the stream is', async () => {
  const source = await openShards(await save({ acts: floats }, 'file'));
  expect([...(await source.readBlock(0)).activations.get('acts')!]).toEqual([1, 2, 3, 4, 5, 6]);
});

describe('state.json names files of its folder only', () => {
  const asking = async (dir: string, filename: string) => {
    await writeFile(join(dir, 'state.json'), JSON.stringify({ _data_files: [{ filename }] }));
    return openShards(dir);
  };

  test('not by .., by an absolute path, by the folder itself or by nothing', async () => {
    const dir = await save({ acts: floats });
    const other = await save({ acts: floats });
    for (const name of [
      `../${other.split('/').at(-1)}/data.arrow`,
      join(other, 'data.arrow'),
      '.',
      '',
      'a/../..',
    ])
      await expect(asking(dir, name)).rejects.toMatchObject({
        kind: 'bad-dataset-folder',
        lesson: { expected: 'names of files in this folder' },
      });
  });

  test('not through a link; links within, and those of a hub to its blobs, are followed', async () => {
    const [dir, other] = [await save({ acts: floats }), await save({ acts: floats })];
    await symlink(join(other, 'data.arrow'), join(dir, 'out.arrow'));
    await expect(asking(dir, 'out.arrow')).rejects.toMatchObject({ kind: 'bad-dataset-folder' });
    await symlink('data.arrow', join(dir, 'in.arrow'));
    expect((await asking(dir, 'in.arrow')).blockRows).toEqual([3]);
    const snapshot = join(await folder(), 'snapshots', 'c0ffee');
    const blobs = join(snapshot, '..', '..', 'blobs');
    for (const made of [snapshot, blobs]) await mkdir(made, { recursive: true });
    await copyFile(join(dir, 'data.arrow'), join(blobs, '1234'));
    await symlink('../../blobs/1234', join(snapshot, 'data.arrow'));
    expect((await asking(snapshot, 'data.arrow')).blockRows).toEqual([3]);
  });
});
