/** @file Numbers, nesting and names that a model's files may hold and nobody may believe: refused by file and key, at once. */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generate } from '../../src/model/generate.ts';
import { loadGPT2 } from '../../src/model/gpt2.ts';
import { openSafetensors, openTensorDirectory } from '../../src/model/safetensors.ts';
import { assertFits, idsWithoutToken, loadTokenizer } from '../../src/model/tokenizer.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { tinyModelFolder } from '../support/tiny-model.ts';

let root: string;
let model: string;
let made = 0;
beforeAll(async () => {
  await useBackend();
  root = await mkdtemp(join(tmpdir(), 'unfold-bounds-'));
  model = await tinyModelFolder(join(root, 'model'));
});
afterAll(() => rm(root, { recursive: true }));

const fresh = async () => {
  const dir = join(root, `x${made++}`);
  await mkdir(dir);
  return dir;
};

describe('config.json', () => {
  test.each<[string, unknown, RegExp]>([
    ['n_layer', 2 ** 31, /config\.json: n_layer/],
    ['n_layer', 2 ** 31 - 1, /n_layer of the config\.json[\s\S]*2, the blocks[\s\S]*2147483647/],
    ['n_layer', 1000, /n_layer of the config\.json/],
    ['n_layer', 3, /12 faults: h\.2\.ln_1\.weight is missing/],
    ['n_layer', 1e308, /config\.json: n_layer/],
    ['n_layer', 0, /config\.json: n_layer/],
    ['n_layer', 2.5, /config\.json: n_layer/],
    ['n_embd', 2 ** 40, /config\.json: n_embd/],
    ['n_embd', 2 ** 30, /is \[\d+, 8\], not \[\d+, 1073741824\]/],
    ['n_head', -2, /config\.json: n_head/],
    ['n_positions', 2 ** 31 - 1, /wpe\.weight is \[32, 8\], not \[2147483647, 8\]/],
    ['vocab_size', 2 ** 31 - 1, /wte\.weight is/],
    ['activation_function', 'x'.repeat(10_000), /activation_function x+…/],
    ['model_type', 'llama', /model_type llama/],
  ])('%s %s is refused', async (key, value, message) => {
    const dir = await fresh();
    const config = JSON.parse(await readFile(join(model, 'config.json'), 'utf8')) as object;
    await writeFile(join(dir, 'config.json'), JSON.stringify({ ...config, [key]: value }));
    await symlink(join(model, 'model.safetensors'), join(dir, 'model.safetensors'));
    const error = await loadGPT2(dir).catch((e: Error) => e);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message.length).toBeLessThan(2000);
  });
});

describe('in place of a file', () => {
  const wrong = {
    'a folder': (path: string) => mkdir(path),
    'a link to itself': (path: string) => symlink(path, path),
    'a named pipe': async (path: string) => void spawnSync('mkfifo', [path]),
  };
  const files = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'] as const;
  test.each(files.flatMap((file) => Object.keys(wrong).map((what) => [file, what] as const)))(
    '%s: %s is named, and nothing waits',
    async (file, what) => {
      const dir = await fresh();
      for (const other of files) if (other !== file) await symlink(join(model, other), join(dir, other));
      await wrong[what as keyof typeof wrong](join(dir, file));
      const load = file.startsWith('tokenizer') ? loadTokenizer(dir) : loadGPT2(dir);
      const found = { 'a link to itself': /ELOOP/, 'a folder': /a folder/, 'a named pipe': /a named pipe/ }[
        what
      ]!;
      const error = (await load.catch((e: unknown) => e)) as { name: string; message: string };
      expect(error.name).toBe('UnfoldError');
      expect(error.message).toContain(join(dir, file));
      expect(error.message).toMatch(found);
    },
  );
});

describe('safetensors', () => {
  const written = async (header: string, data = 0) => {
    const path = join(await fresh(), 'x.safetensors');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
    await writeFile(path, Buffer.concat([length, Buffer.from(header), Buffer.alloc(data)]));
    return path;
  };
  const nested = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  test.each<[string, string, number]>([
    ['nested', `{"a":{"dtype":"F32","shape":${nested},"data_offsets":[0,4]}}`, 4],
    ['nested metadata', `{"__metadata__":{"a":${nested}}}`, 0],
    [
      'an overflowing shape',
      '{"a":{"dtype":"F32","shape":[9007199254740991,9007199254740991],"data_offsets":[0,4]}}',
      4,
    ],
    ['a shape of 1e308', '{"a":{"dtype":"F32","shape":[1e308],"data_offsets":[0,4]}}', 4],
    [
      'an overlap',
      '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
      8,
    ],
    ['a long list as dtype', `{"a":{"dtype":[${'1,'.repeat(50_000)}1],"shape":[1],"data_offsets":[0,4]}}`, 4],
  ])('%s is refused in few words', async (_, header, data) => {
    const error = (await openSafetensors(await written(header, data)).catch((e: unknown) => e)) as Error;
    expect(error).toMatchObject({ kind: 'bad-safetensors' });
    expect(error.message.length).toBeLessThan(1000);
  });

  test.each(['', '.', '..', '../x', '/etc/passwd', 'a/b', 'a\\b', 7, null])(
    'a weight_map to %j is refused',
    async (file) => {
      const dir = await fresh();
      await writeFile(
        join(dir, 'model.safetensors.index.json'),
        JSON.stringify({ weight_map: { 'wte.weight': file } }),
      );
      await expect(openTensorDirectory(dir)).rejects.toMatchObject({ kind: 'bad-index' });
    },
  );
});

describe('an embedding with more rows than there are tokens', () => {
  test('never has one of these chosen, and they are shown as what they are', async () => {
    const padded = await loadGPT2(
      await tinyModelFolder(join(root, 'padded'), { config: { vocab_size: 4160 } }),
    );
    const tokenizer = await loadTokenizer(join(root, 'padded'));
    assertFits(tokenizer, padded.cfg.d_vocab);
    const without = idsWithoutToken(tokenizer, padded.cfg.d_vocab);
    expect(without).toEqual(Array.from({ length: 64 }, (_, i) => 4096 + i));
    const all = Array.from({ length: 4160 }, (_, id) => id);
    // Only ids without a token, but for two: one of these is taken, greedily and by chance.
    for (const options of [{}, { seed: 1 }, { top_k: 4000, temperature: 5 }]) {
      const ids = await generate(padded, [4095], {
        ...options,
        max_new_tokens: 3,
        without: all.filter((id) => id !== 7 && id !== 9),
      });
      expect(ids.every((id) => id === 7 || id === 9)).toBe(true);
    }
    expect(tokenizer.visiblePieces([8, 4100])).toEqual([expect.any(String), '[id 4100]']);
  });
});

describe('a local folder that is not there', () => {
  test.each([
    'checkpoints/nvels-4l',
    './nvels-4l',
    'a/b/c',
    '~/x',
    'runs/x/',
    'C:/models/x',
    'C:\\models\\x',
    'src/x',
  ])('%s is no hub id, and folders that are near are named', async (name) => {
    const error = (await loadGPT2(name).catch((e: unknown) => e)) as Error;
    expect(error).toMatchObject({ kind: 'no-model' });
    expect(error.message).not.toMatch(/network/);
    expect(error.message).toMatch(/did you mean/);
    if (name.startsWith('checkpoints')) expect(error.message).toContain('checkpoints/novels-4l');
  });
});
