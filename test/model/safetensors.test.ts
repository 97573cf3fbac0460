/** @file Safetensors files: bytes that another program wrote, and hostile specimens of a few bytes each. */
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromBfloat16, toBfloat16 } from '../../src/model/dtypes.ts';
import { openSafetensors, openTensorDirectory, readSafetensors } from '../../src/model/safetensors.ts';
import { writeSafetensors } from '../../src/model/safetensors-write.ts';

const python = new URL('../fixtures/model/types.safetensors', import.meta.url).pathname;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unfold-safetensors-'));
});
afterAll(() => rm(dir, { recursive: true }));

/** A file with this header and this many data bytes; returns its path. */
async function specimen(header: string | object, dataBytes = 0, length?: bigint): Promise<string> {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(length ?? BigInt(json.length));
  const path = join(dir, 'specimen.safetensors');
  await writeFile(path, Buffer.concat([size, json, Buffer.alloc(dataBytes)]));
  return path;
}

const f32 = (shape: number[], begin: number, end: number) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

describe('a file that Python wrote', () => {
  it('is read with every element type, without dimensions and without elements', async () => {
    const tensors = await readSafetensors(python);
    const values = Object.fromEntries(
      [...tensors].map(([name, { data }]) => [name, Array.from(data, Number)]),
    );
    expect(values).toEqual({
      '0': [5],
      a: [],
      b: [0, 1, 2],
      i: [0, 1, 2, 3],
      u: [0, 1, 2],
      h: [1.5, -2, 65504],
      bf: [1.5, -2, Math.fround(3.00405527047391e38)],
      d: [0.1],
      B: [1, 0],
      i8: [-1],
      i16: [-300],
      i32: [7],
      é: [1],
    });
    expect(tensors.get('a')!.shape).toEqual([2, 0]);
    expect(tensors.get('0')!.shape).toEqual([]);
  });

  it('is written back byte for byte, whatever the order given', async () => {
    const out = join(dir, 'copy.safetensors');
    await writeSafetensors(out, new Map([...(await readSafetensors(python))].reverse()), { format: 'pt' });
    expect(await readFile(out)).toEqual(await readFile(python));
    expect((await readdir(dir)).filter((name) => name.endsWith('.part'))).toEqual([]);
  });
});

describe('a hostile or broken file is refused, and the error says where', () => {
  const cases: [what: string, message: RegExp, make: () => Promise<string>][] = [
    ['a header length of 2^63', /9223372036854775808/, () => specimen('{}', 0, 2n ** 63n)],
    ['a header length above 100 MB', /100000001/, () => specimen('{}', 0, 100_000_001n)],
    ['a header longer than the file', /64 in a file of 10/, () => specimen('{}', 0, 64n)],
    ['a header length of 0', /header length of 0/, () => specimen('', 20)],
    ['a header that is not JSON', /JSON object/, () => specimen('{"a":')],
    ['a header that is a list', /JSON object/, () => specimen('[1]')],
    ['an unknown type', /F31/, () => specimen({ a: { ...f32([1], 0, 4), dtype: 'F31' } }, 4)],
    ['a negative size', /non-negative/, () => specimen({ a: f32([-1], 0, 4) }, 4)],
    ['sizes beyond 2^53', /bytes for shape/, () => specimen({ a: f32([2 ** 40, 2 ** 40], 0, 4) }, 4)],
    [
      'a shape that does not fill its bytes',
      /tensor a[\s\S]*12 bytes[\s\S]*8 bytes/,
      () => specimen({ a: f32([3], 0, 8) }, 8),
    ],
    [
      'overlapping tensors',
      /tensor b[\s\S]*overlap with a/,
      () => specimen({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12),
    ],
    ['a gap', /tensor b[\s\S]*gap of 4/, () => specimen({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12)],
    [
      'a tensor beyond the end',
      /tensor b[\s\S]*truncated/,
      () => specimen({ a: f32([1], 0, 4), b: f32([1], 4, 8) }, 6),
    ],
    ['bytes that belong to no tensor', /9 bytes of data/, () => specimen({ a: f32([1], 0, 4) }, 9)],
    ['offsets the wrong way round', /data_offsets/, () => specimen({ a: f32([1], 4, 0) }, 4)],
    [
      'a name given twice',
      /tensor a[\s\S]*two entries/,
      () => {
        const entry = JSON.stringify(f32([1], 0, 4));
        return specimen(`{"a":${entry},"\\u0061":${entry}}`, 4);
      },
    ],
    ['metadata that is not text', /__metadata__/, () => specimen({ __metadata__: { a: 1 } })],
    [
      'a file of 3 bytes',
      /3 bytes/,
      async () => {
        const path = await specimen('{}');
        await truncate(path, 3);
        return path;
      },
    ],
  ];
  it.each(cases)('%s', async (_what, message, make) => {
    const path = await make();
    const error = await openSafetensors(path).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'bad-safetensors', message: expect.stringMatching(message) });
    expect((error as Error).message).toContain(path);
  });

  it('a file that shrinks after it was opened', async () => {
    const path = await specimen({ a: f32([64], 0, 256) }, 256);
    const source = await openSafetensors(path);
    await truncate(path, 100);
    await expect(source.read('a')).rejects.toThrow(/end of the file/);
    await source.close();
  });

  it('a missing file or tensor', async () => {
    await expect(openSafetensors(join(dir, 'no.safetensors'))).rejects.toThrow(/no such file/);
    const source = await openSafetensors(python);
    await expect(source.read('i61')).rejects.toThrow(/nearest names: i, i16/);
    await source.close();
  });
});

it('tensors may start at odd offsets', async () => {
  const path = await specimen(
    { a: { dtype: 'U8', shape: [3], data_offsets: [0, 3] }, b: f32([2], 3, 11), c: f32([0], 11, 11) },
    11,
  );
  const tensors = await readSafetensors(path);
  expect([...tensors.get('b')!.data]).toEqual([0, 0]);
  expect(tensors.get('c')!.data.length).toBe(0);
});

it('a file without tensors can be written and read', async () => {
  const path = join(dir, 'empty.safetensors');
  await writeSafetensors(path, {});
  expect((await readSafetensors(path)).size).toBe(0);
});

it('a shape that does not match its data is refused before anything is written', async () => {
  const path = join(dir, 'never.safetensors');
  await expect(writeSafetensors(path, { a: { shape: [3], data: new Float32Array(2) } })).rejects.toThrow(
    /tensor a/,
  );
  expect(await readdir(dir)).not.toContain('never.safetensors');
});

it('shards are read through their index, and an index that leaves the folder is refused', async () => {
  await writeSafetensors(join(dir, 'model-1.safetensors'), { a: { shape: [1], data: Float32Array.of(1) } });
  await writeSafetensors(join(dir, 'model-2.safetensors'), {
    b: { shape: [1], data: Float32Array.of(2), dtype: 'BF16' },
  });
  const index = join(dir, 'model.safetensors.index.json');
  await writeFile(
    index,
    JSON.stringify({ weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' } }),
  );
  const source = await openTensorDirectory(dir);
  expect(source.names()).toEqual(['a', 'b']);
  expect([...(await source.readFloat32('b'))]).toEqual([2]);
  await source.close();
  await writeFile(index, JSON.stringify({ weight_map: { a: '../../etc/passwd' } }));
  await expect(openTensorDirectory(dir)).rejects.toThrow(/outside/);
});

it('bfloat16 rounds to nearest, ties to even, and keeps NaN and infinity', () => {
  const tie = (1 + 2 ** -8) as number;
  const values = Float32Array.of(1, tie, 1 + 3 * 2 ** -8, 3.4e38, Number.POSITIVE_INFINITY, Number.NaN, -0);
  expect([...fromBfloat16(toBfloat16(values))]).toEqual([
    1,
    1,
    1 + 2 ** -6,
    Number.POSITIVE_INFINITY,
    Number.POSITIVE_INFINITY,
    Number.NaN,
    -0,
  ]);
});
