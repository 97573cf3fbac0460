/** @file Rows of other programs without a column of tokens: nothing stands in for it, and no rule by token is passed over. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { rowChoice } from '../../src/evaluate/stored-rows.ts';
import { openShards } from '../../src/shards/reader.ts';

const at = (name: string) => fileURLToPath(new URL(`../fixtures/shards/${name}`, import.meta.url));

/** The fixture with its column of tokens under a name that means nothing. */
const nameless = mkdtempSync(join(tmpdir(), 'unfold-rows-'));
afterAll(() => rmSync(nameless, { recursive: true }));
cpSync(at('flat_float16'), nameless, { recursive: true });
const data = join(nameless, 'data-00000-of-00001.arrow');
writeFileSync(data, readFileSync(data, 'latin1').replaceAll('token_id', 'other_id'), 'latin1');

const coderOf = (metadata: object) => ({ cfg: { metadata } }) as never;

test('tokens that are not known have no id', async () => {
  const source = await openShards(nameless);
  expect(source.hasTokens).toBe(false);
  expect(new Set((await source.readBlock(0)).tokenId)).toEqual(new Set([-1]));
  await source.close();
});

test('what leaves out rows by their tokens is refused there, and works where they are known', async () => {
  const [without, having] = [await openShards(nameless), await openShards(at('cached_activations'))];
  const rule = { exclude_special_tokens: [5] };
  const refused = { kind: 'unknown-tokens', lesson: { todo: expect.stringContaining('--all-tokens') } };
  for (const [metadata, flags] of [
    [{}, { exclude_tokens: [5] }],
    [rule, {}],
    [{ exclude_special_tokens: true }, {}],
  ] as const)
    await expect(rowChoice(coderOf(metadata), without, flags, silent())).rejects.toMatchObject(refused);
  for (const [metadata, flags] of [
    [rule, { all_tokens: true }],
    [rule, { exclude_tokens: [] }],
    [{}, {}],
  ] as const)
    await expect(rowChoice(coderOf(metadata), without, flags, silent())).resolves.toBeDefined();
  const { exclusions } = await rowChoice(coderOf(rule), having, {}, silent());
  expect([...exclusions.tokens!]).toEqual([5]);
  await Promise.all([without.close(), having.close()]);
});
