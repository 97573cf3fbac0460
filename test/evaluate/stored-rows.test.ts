/** @file Stored rows that count: by token, by position, by number. */
import { describe, expect, it } from 'vitest';
import type { Coder } from '../../src/coders/coder.ts';
import { silent } from '../../src/context.ts';
import { countedBlocks, type RowChoice, rowChoice } from '../../src/evaluate/stored-rows.ts';
import type { BlockSource } from '../../src/shards/block-source.ts';

const BOS = 4095;

/** Two blocks of two contexts of three tokens, BOS first; a row's one number is its index. */
const source: BlockSource = {
  hooks: [{ name: 'h', width: 1 }],
  blockRows: [6, 6],
  contentHash: '',
  readBlock: async (index) => ({
    rows: 6,
    activations: new Map([['h', Float32Array.from({ length: 6 }, (_, row) => 6 * index + row)]]),
    tokenId: Int32Array.from({ length: 6 }, (_, row) => (row % 3 === 0 ? BOS : 10 + row)),
    seqId: Uint32Array.from({ length: 6 }, (_, row) => 2 * index + Math.floor(row / 3)),
    pos: Uint16Array.from({ length: 6 }, (_, row) => row % 3),
  }),
  close: async () => {},
};

/** A source as an own harvest with these settings has it. */
const harvested = (settings: Record<string, unknown>, tokenizer = '') =>
  ({ ...source, statistics: {}, manifest: { settings, hashes: { tokenizer } } }) as unknown as BlockSource;

const coderWith = (metadata: Record<string, unknown>) => ({ cfg: { metadata } }) as unknown as Coder;

async function counted(choice: RowChoice, of = source): Promise<{ rows: number[]; looked: number }> {
  const rows: number[] = [];
  let looked = 0;
  for await (const { block, total } of countedBlocks(of, choice)) {
    rows.push(...block.activations.get('h')!);
    expect([block.tokenId.length, block.seqId.length, block.pos.length]).toEqual([
      block.rows,
      block.rows,
      block.rows,
    ]);
    looked = total;
  }
  return { rows, looked };
}

describe('stored rows', () => {
  it('count without the excluded tokens, within the slice, up to the number asked for', async () => {
    expect((await counted({})).rows).toHaveLength(12);
    expect(await counted({ exclusions: { tokens: new Set([BOS]) } })).toEqual({
      rows: [1, 2, 4, 5, 7, 8, 10, 11],
      looked: 12,
    });
    expect((await counted({ exclusions: { seqpos_slice: [2, null] } })).rows).toEqual([2, 5, 8, 11]);
    expect((await counted({ exclusions: { seqpos_slice: [null, -1] }, context_size: 3 })).rows).toEqual([
      0, 1, 3, 4, 6, 7, 9, 10,
    ]);
    expect(await counted({ max_rows: 7, exclusions: { tokens: new Set([BOS]) } })).toEqual({
      rows: [1, 2, 4, 5],
      looked: 6,
    });
    expect((await counted({ max_rows: 8 })).rows).toHaveLength(8);
  });

  it('refuse a slice from the end of contexts whose length is not known', async () => {
    await expect(counted({ exclusions: { seqpos_slice: [-1, null] } })).rejects.toThrow(/context size/);
  });

  it('are those the coder was trained on, unless flags say otherwise', async () => {
    const coder = coderWith({ exclude_special_tokens: [BOS], seqpos_slice: [1, null], context_size: 3 });
    const own = await rowChoice(coder, source, {}, silent());
    expect((await counted(own)).rows).toEqual([1, 2, 4, 5, 7, 8, 10, 11]);
    expect((await counted(await rowChoice(coder, source, { all_tokens: true }, silent()))).rows).toHaveLength(
      12,
    );
    const listed = await rowChoice(coder, source, { exclude_tokens: [11], max_tokens: 6 }, silent());
    expect((await counted(listed)).rows).toEqual([0, 2, 3, 4, 5]);
  });

  it('know special tokens from the tokeniser that made them, and need none where the harvest left them out', async () => {
    const coder = coderWith({ exclude_special_tokens: true });
    const without = harvested({ exclude_special_tokens: true, model: 'no/such/model' });
    expect((await rowChoice(coder, without, {}, silent())).exclusions.tokens?.size).toBe(0);
    const { loadTokenizer } = await import('../../src/model/tokenizer.ts');
    const { hash } = await loadTokenizer('checkpoints/novels-4l');
    const withBos = harvested({ exclude_special_tokens: false, model: 'checkpoints/novels-4l' }, hash);
    const { exclusions } = await rowChoice(coder, withBos, {}, silent());
    expect([...exclusions.tokens!]).toEqual([BOS]);
    const other = harvested({ exclude_special_tokens: false, model: 'checkpoints/novels-4l' }, 'another');
    await expect(rowChoice(coder, other, {}, silent())).rejects.toThrow(/another one/);
    await expect(rowChoice(coder, source, {}, silent())).rejects.toThrow(/--exclude-tokens IDS/);
  });
});
