import { expect, test } from 'vitest';
import type { BlockSource } from '../../src/shards/block-source.ts';
import { emptyBatch, type RowStream, shuffledRows } from '../../src/shards/shuffle.ts';
import { memorySource } from './helpers.ts';

const hooks = [{ name: 'h', width: 2 }];
const blockRows = [7, 3, 0, 11, 5, 8, 6, 2];
const total = 42;

/** Names the rows at [position, position + count) as block:row, checked against their activations. */
async function names(stream: RowStream, position: number, count: number): Promise<string[]> {
  const batch = await stream.read(position, count);
  return Array.from({ length: count }, (_, i) => {
    const [block, row] = [batch.seqId[i]!, batch.pos[i]!];
    expect(batch.tokenId[i]).toBe(100 * block + row);
    expect([...batch.activations.get('h')!.subarray(2 * i, 2 * i + 2)]).toEqual([
      10 * block + row,
      10 * block + row + 1 / 8,
    ]);
    return `${block}:${row}`;
  });
}

const every = blockRows
  .flatMap((rows, block) => Array.from({ length: rows }, (_, row) => `${block}:${row}`))
  .sort();

test.each([1, 9, 24, 40, 1000])(
  'every row comes exactly once an epoch (buffer of %i rows)',
  async (bufferRows) => {
    const stream = shuffledRows(memorySource(blockRows, hooks), { seed: 1, bufferRows });
    expect(stream.rows).toBe(total);
    for (const epoch of [0, 1, 2]) {
      const seen: string[] = [];
      for (let at = 0; at < total; at += 6) seen.push(...(await names(stream, epoch * total + at, 6)));
      expect(seen.sort()).toEqual(every);
    }
    await stream.close();
  },
);

test('epochs differ, seeds differ, and the same seed gives the same order', async () => {
  const order = async (seed: number, epoch: number) =>
    names(shuffledRows(memorySource(blockRows, hooks), { seed, bufferRows: 24 }), epoch * total, total);
  expect(await order(1, 0)).toEqual(await order(1, 0));
  expect(await order(1, 0)).not.toEqual(await order(1, 1));
  expect(await order(1, 0)).not.toEqual(await order(2, 0));
});

test('a position gives the same rows wherever one comes from, with and without prefetching', async () => {
  const options = { seed: 3, bufferRows: 20 };
  const stream = shuffledRows(memorySource(blockRows, hooks), options);
  const inOrder: string[] = [];
  for (let at = 0; at < 3 * total; at += 5) inOrder.push(...(await names(stream, at, 5)));
  const seeking = shuffledRows(memorySource(blockRows, hooks), { ...options, prefetch: false });
  for (const at of [100, 0, 41, 7, 84, 60, 3]) {
    expect(await names(seeking, at, 13)).toEqual(inOrder.slice(at, at + 13));
    expect(await names(shuffledRows(memorySource(blockRows, hooks), options), at, 13)).toEqual(
      inOrder.slice(at, at + 13),
    );
  }
});

test('a batch is always full: it runs on into the next epoch', async () => {
  const stream = shuffledRows(memorySource(blockRows, hooks), { seed: 1, bufferRows: 20 });
  const over = await names(stream, total - 4, 10);
  expect(over.slice(0, 4)).toEqual(await names(stream, total - 4, 4));
  expect(over.slice(4)).toEqual(await names(stream, total, 6));
  expect((await names(stream, 5, 2 * total)).length).toBe(2 * total);
});

test('a batch can be filled again instead of made anew; calls in flight are answered in order', async () => {
  const stream = shuffledRows(memorySource(blockRows, hooks), { seed: 1, bufferRows: 20 });
  const batch = emptyBatch(hooks, 6);
  const [first, second] = [stream.read(0, 6), stream.read(6, 6, batch)];
  expect(await second).toBe(batch);
  expect((await first).seqId).not.toEqual(batch.seqId);
});

/** Counts the rows that were read. */
function counting(source: BlockSource): BlockSource & { read: number } {
  const counter = { ...source, read: 0 };
  counter.readBlock = (index: number) => {
    counter.read += source.blockRows[index]!;
    return source.readBlock(index);
  };
  return counter;
}

test('blocks are read once an epoch, ahead in step with consumption, never more than the buffer holds', async () => {
  const source = counting(memorySource(Array(40).fill(10), hooks));
  const stream = shuffledRows(source, { seed: 5, bufferRows: 100 });
  for (let at = 0; at < 400; at += 10) {
    await stream.read(at, 10);
    // Rows read so far, less those of windows that are over: what is in memory.
    const over = Math.floor((at + 9) / 50) * 50;
    expect(source.read - over).toBeLessThanOrEqual(100);
  }
  expect(source.read).toBe(450);
});

test('rows that fit in the buffer are read once for all epochs', async () => {
  const source = memorySource(blockRows, hooks);
  const stream = shuffledRows(source, { seed: 5, bufferRows: 42 });
  for (let at = 0; at < 5 * total; at += 7) await stream.read(at, 7);
  expect(source.reads.filter((n) => n > 1)).toEqual([]);
});

test('a failed read is reported when its rows are needed, and tried again', async () => {
  const source = memorySource(blockRows, hooks);
  let broken = true;
  const read = source.readBlock.bind(source);
  source.readBlock = async (index) => {
    if (index === 4 && broken) throw new Error('disk gone');
    return read(index);
  };
  const stream = shuffledRows(source, { seed: 1, bufferRows: 1000 });
  await expect(stream.read(0, 5)).rejects.toThrow('disk gone');
  broken = false;
  expect((await names(stream, 0, total)).sort()).toEqual(every);
});

test('no rows at all is an error that says why', () => {
  expect(() => shuffledRows(memorySource([0, 0], hooks), { seed: 1 })).toThrow(
    expect.objectContaining({ kind: 'no-rows' }),
  );
});

test('neighbours in the stream come from the same context no more often than chance, and do not correlate', async () => {
  // 256 blocks of 64 rows; one context per block; windows of 32 blocks: a neighbour pair inside a window is of one
  // context with probability 63 / 2047.
  const source = memorySource(Array(256).fill(64), hooks);
  const rows = 256 * 64;
  const stream = shuffledRows(source, { seed: 11, bufferRows: 4096 });
  const { seqId, pos } = await stream.read(0, rows);
  let same = 0;
  let [products, squares] = [0, 0];
  for (let i = 1; i < rows; i++) {
    if (seqId[i] === seqId[i - 1]) same++;
    products += (pos[i]! - 31.5) * (pos[i - 1]! - 31.5);
    squares += (pos[i]! - 31.5) ** 2;
  }
  const chance = 63 / 2047;
  const expectedSame = (rows - 1) * chance;
  const chiSquare =
    (same - expectedSame) ** 2 / expectedSame + (same - expectedSame) ** 2 / (rows - 1 - expectedSame);
  // 10.83 is the 99.9th percentile of chi-square with one degree of freedom; unshuffled rows give 500,000.
  expect(chiSquare).toBeLessThan(10.83);
  // Serial correlation of n independent rows has standard deviation 1 / sqrt(n); unshuffled positions give 0.9.
  expect(Math.abs(products / squares)).toBeLessThan(3.3 / Math.sqrt(rows));
});

test('within a window every order is equally likely', async () => {
  // Where row 0 of a single block of four lands over 4,000 epochs: chi-square with 3 degrees of freedom, 99.9%: 16.27.
  const stream = shuffledRows(memorySource([4], hooks), { seed: 2, bufferRows: 8 });
  const { pos } = await stream.read(0, 16_000);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < pos.length; i++) if (pos[i] === 0) counts[i % 4] = counts[i % 4]! + 1;
  const chiSquare = counts.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
  expect(chiSquare).toBeLessThan(16.27);
});
