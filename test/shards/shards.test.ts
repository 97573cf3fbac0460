import { execFileSync } from 'node:child_process';
import { readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { beforeEach, describe, expect, test } from 'vitest';
import { writeSealed } from '../../src/seal.ts';
import { isShardSource, openShards } from '../../src/shards/reader.ts';
import { readSidecar, type Sidecar } from '../../src/shards/sidecar.ts';
import { meanNorm } from '../../src/shards/stats.ts';
import { ShardWriter } from '../../src/shards/writer.ts';
import { block, folder, writeShards } from './helpers.ts';

const hooks = [
  { name: 'blocks.1.hook_resid_pre', width: 4 },
  { name: 'blocks.1.attn.hook_z', width: 3 },
];
const blockRows = [5, 4, 0, 3, 2];
let dir: string;
beforeEach(async () => {
  dir = await folder();
});

describe.each(['float32', 'float16'] as const)('%s shards', (dtype) => {
  beforeEach(() => writeShards(dir, hooks, dtype, blockRows).then(() => undefined));

  test('give back every block as it was, in any order', async () => {
    const source = await openShards(dir);
    expect(source.hooks).toEqual(hooks);
    expect(source.blockRows).toEqual(blockRows);
    for (const index of [4, 0, 2, 3, 1]) {
      expect(await source.readBlock(index)).toEqual(block(hooks, index, blockRows[index]!));
    }
    await source.close();
  });

  test('are Arrow streams that another reader opens with the same values', async () => {
    const table = tableFromIPC(await readFile(join(dir, 'data-00000-of-00003.arrow')));
    expect(table.schema.fields.map((field) => `${field.name}: ${field.type}`)).toEqual([
      `blocks.1.hook_resid_pre: FixedSizeList[4]<${dtype === 'float16' ? 'Float16' : 'Float32'}>`,
      `blocks.1.attn.hook_z: FixedSizeList[3]<${dtype === 'float16' ? 'Float16' : 'Float32'}>`,
      'token_id: Int32',
      'seq_id: Uint32',
      'pos: Uint16',
    ]);
    expect(table.numRows).toBe(9);
    expect([...table.get(6)!.toJSON()['blocks.1.hook_resid_pre']]).toEqual([11, 11.125, 11.25, 11.375]);
    expect(table.get(6)!.toJSON()).toMatchObject({ token_id: 101, seq_id: 1, pos: 1 });
  });

  test('carry statistics of the float32 rows', async () => {
    const source = await openShards(dir);
    if (!isShardSource(source)) throw new Error('statistics expected');
    const all = blockRows.flatMap((rows, b) => [...block(hooks, b, rows).activations.get(hooks[1]!.name)!]);
    const stats = source.statistics.get(hooks[1]!.name)!;
    const column = (j: number) => all.filter((_, i) => i % 3 === j);
    const sum = (xs: number[]) => xs.reduce((a, b) => a + b, 0);
    expect([...stats.sum]).toEqual([0, 1, 2].map((j) => sum(column(j))));
    expect([...stats.sum_squares]).toEqual([0, 1, 2].map((j) => sum(column(j).map((x) => x * x))));
    const norms = column(0).map((_, row) => Math.hypot(...all.slice(3 * row, 3 * row + 3)));
    expect(meanNorm(stats)).toBeCloseTo(sum(norms) / norms.length, 12);
    await source.close();
  });
});

test('the sidecar says what sha256sum says, and equal rows give equal bytes', async () => {
  const other = await folder();
  await writeShards(dir, hooks, 'float32', blockRows);
  await writeShards(other, hooks, 'float32', blockRows);
  const file = 'data-00001-of-00003.arrow';
  const sidecar = await readSidecar(join(dir, 'data-00001-of-00003.json'));
  const { createHash } = await import('node:crypto');
  const bytes = await readFile(join(dir, file));
  expect(sidecar.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  expect(sidecar.bytes).toBe(bytes.length);
  expect(await readFile(join(other, file))).toEqual(bytes);
  expect(await readFile(join(other, 'manifest.json'))).toEqual(await readFile(join(dir, 'manifest.json')));
});

test('NaN, infinity and a float16 overflow are found, with hook, row and dimension', async () => {
  for (const [dtype, value] of [
    ['float32', Number.NaN],
    ['float32', Number.POSITIVE_INFINITY],
    ['float16', -65520],
  ] as const) {
    const writer = await ShardWriter.create(join(dir, 'x.arrow'), {
      hooks,
      dtype,
      contentHash: '',
      firstBlock: 0,
    });
    const spoilt = block(hooks, 0, 5);
    spoilt.activations.get('blocks.1.attn.hook_z')![3 * 2 + 1] = value;
    expect(writer.append(spoilt)).toEqual({
      unsound: { hook: 'blocks.1.attn.hook_z', row: 2, dimension: 1, value },
    });
    await writer.abort();
  }
  const writer = await ShardWriter.create(join(dir, 'x.arrow'), {
    hooks,
    dtype: 'float16',
    contentHash: '',
    firstBlock: 0,
  });
  const large = block(hooks, 0, 5);
  large.activations.get('blocks.1.attn.hook_z')!.fill(65504);
  expect(writer.append(large)).toHaveProperty('written');
  await writer.abort();
});

describe('damage', () => {
  const file = 'data-00001-of-00003.arrow';
  beforeEach(() => writeShards(dir, hooks, 'float32', blockRows).then(() => undefined));
  const kind = (k: string, where: string) => ({
    kind: k,
    lesson: expect.objectContaining({
      where: expect.stringContaining(where),
      todo: expect.stringContaining(file),
    }),
  });

  test('a flipped bit is named by shard and block; other blocks still read', async () => {
    const bytes = await readFile(join(dir, file));
    const { blocks } = await readSidecar(join(dir, 'data-00001-of-00003.json'));
    bytes[blocks[1]!.offset + blocks[1]!.length - 9]! ^= 4;
    await writeFile(join(dir, file), bytes);
    const source = await openShards(dir);
    await expect(source.readBlock(3)).rejects.toMatchObject(kind('bad-shard', `${file} block 1`));
    expect((await source.readBlock(2)).rows).toBe(0);
    expect((await source.readBlock(4)).rows).toBe(2);
    await source.close();
  });

  test('a flipped bit in the schema is named', async () => {
    const bytes = await readFile(join(dir, file));
    bytes[200]! ^= 1;
    await writeFile(join(dir, file), bytes);
    const source = await openShards(dir);
    await expect(source.readBlock(2)).rejects.toMatchObject(kind('bad-shard', `${file} header`));
    await source.close();
  });

  test('a truncated shard is named when the folder is opened', async () => {
    await truncate(join(dir, file), 1000);
    await expect(openShards(dir)).rejects.toMatchObject(kind('truncated-shard', file));
  });

  test('a shard truncated while it is open is named with its block', async () => {
    const source = await openShards(dir);
    const { blocks } = await readSidecar(join(dir, 'data-00001-of-00003.json'));
    await truncate(join(dir, file), blocks[1]!.offset + 10);
    await expect(source.readBlock(3)).rejects.toMatchObject(kind('truncated-shard', `${file} block 1`));
    await source.close();
  });

  test('a missing shard is named', async () => {
    await rm(join(dir, file));
    await expect(openShards(dir)).rejects.toMatchObject(kind('missing-shard', file));
  });

  test('a sidecar of another harvest is refused', async () => {
    const other = await folder();
    await writeShards(other, hooks, 'float32', [5, 4, 1, 2, 2]);
    await rename(join(other, file), join(dir, file));
    await rename(join(other, 'data-00001-of-00003.json'), join(dir, 'data-00001-of-00003.json'));
    await expect(openShards(dir)).rejects.toMatchObject({ kind: 'bad-shard' });
  });

  test.each([
    ['another file', (s: Sidecar) => ({ ...s, file: '../../etc/hostname' })],
    ['a block beyond the end', (s: Sidecar) => ({ ...s, blocks: [{ ...s.blocks[0]!, length: 2 ** 40 }] })],
    ['a header beyond the end', (s: Sidecar) => ({ ...s, header: { ...s.header, length: 2 ** 40 } })],
    ['other rows', (s: Sidecar) => ({ ...s, blocks: s.blocks.map((b) => ({ ...b, rows: 2 ** 50 })) })],
    ['another place', (s: Sidecar) => ({ ...s, first_block: 2 ** 50 })],
    ['no statistics', (s: Sidecar) => ({ ...s, statistics: {} })],
  ])('a sidecar that says %s is refused when the folder is opened', async (_what, damage) => {
    const path = join(dir, 'data-00001-of-00003.json');
    await writeFile(path, JSON.stringify(damage(await readSidecar(path))));
    await expect(openShards(dir)).rejects.toMatchObject({ kind: 'bad-shard' });
  });

  test('a manifest that names files elsewhere, or shards without number, is refused', async () => {
    const path = join(dir, 'manifest.json');
    const sound = await readFile(path, 'utf8');
    await writeSealed(path, JSON.parse(sound.replace(`"${file}"`, `"../${file}"`)));
    await expect(openShards(dir)).rejects.toMatchObject({ kind: 'bad-manifest' });
    const endless = sound.replace('"complete": true', '"complete": false');
    await writeSealed(path, JSON.parse(endless.replace('"shard_count": 3', `"shard_count": ${2 ** 50}`)));
    await expect(openShards(dir)).rejects.toMatchObject({ kind: 'unfinished-shards' });
  });

  test('an unfinished harvest says how to go on', async () => {
    const path = join(dir, 'manifest.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"complete": true', '"complete": false'));
    await rm(join(dir, 'data-00001-of-00003.json'));
    await expect(openShards(dir)).rejects.toMatchObject({
      kind: 'unfinished-shards',
      lesson: { expected: '3 finished shards', found: expect.stringContaining('2') },
    });
  });

  test('a folder that is none is told how to make one', async () => {
    await expect(openShards(await folder())).rejects.toMatchObject({ kind: 'no-shards' });
  });
});

/** A Python with `datasets`, if the person running the tests has one: UNFOLD_TEST_PYTHON=/path/to/python. */
const python = process.env.UNFOLD_TEST_PYTHON;
if (python)
  test('datasets.load_from_disk opens the folder with equal values', async () => {
    await writeShards(dir, hooks, 'float16', blockRows);
    const script = `import json, sys, datasets
d = datasets.load_from_disk(sys.argv[1])
print(json.dumps([d.num_rows, d.column_names, d[6]]))`;
    const found = JSON.parse(execFileSync(python!, ['-c', script, dir], { encoding: 'utf8' }));
    expect(found[0]).toBe(14);
    expect(found[1]).toEqual([...hooks.map(({ name }) => name), 'token_id', 'seq_id', 'pos']);
    expect(found[2]['blocks.1.hook_resid_pre']).toEqual([11, 11.125, 11.25, 11.375]);
    expect(found[2]).toMatchObject({ token_id: 101, seq_id: 1, pos: 1 });
  });
