import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readTokenRows, rowsInMemory, tokenBatches } from '../../src/evaluate/token-rows.ts';

describe('token rows', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'unfold-tokens-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  async function read(content: string) {
    const path = join(dir, 'ids.json');
    await writeFile(path, content);
    return readTokenRows(path, 100);
  }

  it('are lists of ids, or one flat list', async () => {
    expect((await read('[[1, 2], [3, 4]]')).contexts).toBe(2);
    const flat = await read('[1, 2, 3]');
    expect([flat.contexts, flat.tokens(0)]).toEqual([1, [1, 2, 3]]);
  });

  it('are refused at the very entry that is no id of the model', async () => {
    await expect(read('[[1, 2], [3, 100]]')).rejects.toThrow(/\[1\]\[1\][\s\S]*0 to 99[\s\S]*100/);
    await expect(read('[[1, 2.5]]')).rejects.toThrow(/\[0\]\[1\]/);
    await expect(read('[[]]')).rejects.toThrow(/\[0\]/);
    await expect(read('{}')).rejects.toThrow(/lists of token ids/);
  });

  it('are batched by size, and anew where the length changes', () => {
    const rows = rowsInMemory([[1, 2], [3, 4], [5, 6], [7], [8]]);
    const batches = [...tokenBatches(rows, 2)].map(({ start, rows }) => [start, rows.length]);
    expect(batches).toEqual([
      [0, 2],
      [2, 1],
      [3, 2],
    ]);
  });
});
