import { cp, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { fromHalf } from '../../src/shards/float16.ts';
import { openShards } from '../../src/shards/reader.ts';
import { folder } from './helpers.ts';

const fixtures = fileURLToPath(new URL('../fixtures/shards/', import.meta.url));
const hook = 'blocks.2.hook_resid_pre';

/** One tensor of expected.safetensors. */
async function expected(name: string): Promise<Uint8Array> {
  const bytes = await readFile(join(fixtures, 'expected.safetensors'));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  const [begin, end] = header[name].data_offsets;
  return Uint8Array.from(bytes.subarray(8 + length + begin, 8 + length + end));
}

test("SAELens's cached activations are rows, context after context", async () => {
  const source = await openShards(join(fixtures, 'cached_activations'));
  expect(source.hooks).toEqual([{ name: hook, width: 128 }]);
  expect(source.blockRows).toEqual([350, 350, 350]);
  const block = await source.readBlock(0);
  expect(block.activations.get(hook)!.subarray(0, 40 * 128)).toEqual(
    new Float32Array((await expected('activations')).buffer),
  );
  expect(block.tokenId.subarray(0, 40)).toEqual(new Int32Array((await expected('token_ids')).buffer));
  expect([...block.pos.subarray(0, 7)]).toEqual([0, 1, 2, 3, 4, 0, 1]);
  const last = await source.readBlock(2);
  expect(last.activations.get(hook)!.subarray(345 * 128)).toEqual(
    new Float32Array((await expected('last_row')).buffer),
  );
  expect(last.seqId[0]).toBe(140);
  await source.close();
});

test('flat float16 rows are widened', async () => {
  const source = await openShards(join(fixtures, 'flat_float16'));
  expect(source.hooks).toEqual([{ name: 'activations', width: 128 }]);
  const block = await source.readBlock(0);
  const halves = new Uint16Array((await expected('flat_float16_first_8')).buffer);
  expect(block.activations.get('activations')!.subarray(0, 8 * 128)).toEqual(fromHalf(halves));
  expect([...block.pos.subarray(0, 6)]).toEqual([0, 1, 2, 3, 4, 0]);
});

test('lists of differing lengths are refused, with the row', async () => {
  await expect(openShards(join(fixtures, 'ragged_list'))).rejects.toMatchObject({
    kind: 'bad-dataset-folder',
    lesson: { found: '9 items in row 1' },
  });
});

test('a truncated file is refused, with the place', async () => {
  const dir = await folder();
  await cp(join(fixtures, 'cached_activations'), dir, { recursive: true });
  await truncate(join(dir, 'data-00001-of-00003.arrow'), 5000);
  await expect(openShards(dir)).rejects.toMatchObject({
    kind: 'bad-dataset-folder',
    lesson: { where: expect.stringContaining('data-00001') },
  });
  await writeFile(join(dir, 'data-00001-of-00003.arrow'), 'ARROW1..and something else');
  await expect(openShards(dir)).rejects.toMatchObject({ kind: 'bad-dataset-folder' });
});
