/** @file Checkpoints as people have them: prefixes, shards, 16-bit, untied heads, and faults that are told at once. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseGPT2Config } from '../../src/model/config.ts';
import { loadGPT2, randomGPT2 } from '../../src/model/gpt2.ts';
import { readSafetensors, type TensorData } from '../../src/model/safetensors.ts';
import { writeSafetensors } from '../../src/model/safetensors-write.ts';
import { checkpointShapes } from '../../src/model/weights.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { backends, novels } from './support.ts';

const small = { model_type: 'gpt2', n_layer: 2, n_embd: 8, n_head: 2, n_positions: 6, vocab_size: 11 };
let root: string;
beforeAll(async () => {
  await useBackend(backends[0]);
  root = await mkdtemp(join(tmpdir(), 'unfold-load-'));
});
afterAll(() => rm(root, { recursive: true }));

type Tensors = Map<string, TensorData>;

/** Weights of the small model under the checkpoint's names. */
function weights(config: object): Tensors {
  const shapes = checkpointShapes(parseGPT2Config('small', config));
  let n = 0;
  return new Map(
    [...shapes].map(([name, shape]) => {
      const size = shape.reduce((a: number, b) => a * b, 1);
      return [name, { dtype: 'F32', shape, data: Float32Array.from({ length: size }, () => Math.sin(++n)) }];
    }),
  );
}

/** Writes a model folder; gives its path. */
async function folder(name: string, config: object, tensors: Tensors): Promise<string> {
  const dir = join(root, name);
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, 'config.json'), JSON.stringify(config));
  await writeSafetensors(join(dir, 'model.safetensors'), tensors);
  return dir;
}

async function logits(dir: string): Promise<number[]> {
  const model = await loadGPT2(dir);
  const out = [...tf.tidy(() => model.forward([[1, 2, 3]]).dataSync())];
  model.dispose();
  return out;
}

describe('the same logits come from', () => {
  it('names with and without the transformer. prefix, beside mask buffers', async () => {
    const bare = weights(small);
    const prefixed = new Map([...bare].map(([name, tensor]) => [`transformer.${name}`, tensor]));
    const mask: TensorData = { dtype: 'U8', shape: [1, 1, 6, 6], data: new Uint8Array(36) };
    prefixed.set('transformer.h.0.attn.bias', mask);
    expect(await logits(await folder('prefixed', small, prefixed))).toEqual(
      await logits(await folder('bare', small, bare)),
    );
  });

  it("transformers' newer names of the sizes in config.json", async () => {
    const { n_layer: num_hidden_layers, n_embd: hidden_size, n_head: num_attention_heads, ...rest } = small;
    const aliased = { ...rest, num_hidden_layers, hidden_size, num_attention_heads, n_inner: 32 };
    expect(await logits(await folder('aliased', aliased, weights(small)))).toEqual(
      await logits(await folder('bare', small, weights(small))),
    );
  });

  it('an untied head that equals the embedding', async () => {
    const untied = { ...small, tie_word_embeddings: false };
    const tensors = weights(small);
    tensors.set('lm_head.weight', tensors.get('wte.weight')!);
    expect(await logits(await folder('untied', untied, tensors))).toEqual(
      await logits(await folder('bare', small, weights(small))),
    );
  });
});

it('an untied head is used', async () => {
  const untied = { ...small, tie_word_embeddings: false };
  const zero = weights(untied);
  zero.set('lm_head.weight', { dtype: 'F32', shape: [11, 8], data: new Float32Array(88) });
  expect(new Set(await logits(await folder('zero-head', untied, zero)))).toEqual(new Set([0]));
});

it('float16 weights are widened', async () => {
  const dir = join(root, 'half');
  await mkdir(dir);
  await writeFile(join(dir, 'config.json'), JSON.stringify(small));
  const half = [...weights(small)].map(([name, tensor]) => [name, { ...tensor, dtype: 'F16' }] as const);
  await writeSafetensors(join(dir, 'model.safetensors'), new Map(half));
  const [a, b] = [await logits(dir), await logits(await folder('bare', small, weights(small)))];
  // Half precision has 11 bits; logits are sums of 8 products of order 1.
  for (const i of a.keys()) expect(Math.abs(a[i]! - b[i]!)).toBeLessThan(0.05);
  expect(a).not.toEqual(b);
});

describe('activation functions and scales', () => {
  it.each(['gelu_new', 'gelu', 'relu', 'silu', 'tanh'])('%s', async (activation_function) => {
    const dir = await folder('act', { ...small, activation_function }, weights(small));
    expect((await logits(dir)).every(Number.isFinite)).toBe(true);
  });

  it('scale_attn_weights and scale_attn_by_inverse_layer_idx change the scores as in transformers', async () => {
    const scores = async (config: object) => {
      const model = await loadGPT2(await folder('scaled', { ...small, ...config }, weights(small)));
      const { cache, logits } = model.runWithCache([[1, 2]], { namesFilter: /attn_scores/ });
      const out = [0, 1].map((l) => cache.at('attn_scores', l).dataSync()[0]!);
      cache.dispose();
      tf.dispose(logits);
      model.dispose();
      return out;
    };
    const [plain, unscaled, byLayer] = [
      await scores({}),
      await scores({ scale_attn_weights: false }),
      await scores({ scale_attn_by_inverse_layer_idx: true }),
    ];
    expect(unscaled[0]).toBeCloseTo(2 * plain[0]!, 5);
    expect(byLayer[0]).toBeCloseTo(plain[0]!, 5);
    expect(byLayer[1]).toBeCloseTo(plain[1]! / 2, 5);
  });
});

describe('faults', () => {
  it('all missing and misshapen tensors are in one error', async () => {
    const tensors = weights(small);
    tensors.delete('h.1.mlp.c_fc.bias');
    tensors.delete('ln_f.weight');
    tensors.set('wpe.weight', { dtype: 'F32', shape: [5, 8], data: new Float32Array(40) });
    const dir = await folder('faulty', small, tensors);
    await expect(loadGPT2(dir)).rejects.toMatchObject({
      kind: 'bad-model',
      message: expect.stringMatching(
        /3 faults: wpe.weight is \[5, 8\], not \[6, 8\]; h.1.mlp.c_fc.bias is missing; ln_f.weight is missing/,
      ),
    });
  });

  it.each([
    [{ ...small, model_type: 'llama' }, /model_type llama/],
    [{ ...small, n_head: 3 }, /multiple of n_head/],
    [{ ...small, activation_function: 'mish' }, /mish.*gelu_new/],
    [{ ...small, n_embd: 'eight' }, /n_embd/],
    [{ ...small, add_cross_attention: true }, /cross/],
  ])('config %#', async (config, message) => {
    await expect(loadGPT2(await folder('config', config, weights(small)))).rejects.toThrow(message);
  });

  it('a folder with a pickle only says how to convert it', async () => {
    const dir = join(root, 'pickle');
    await mkdir(dir);
    await writeFile(join(dir, 'config.json'), JSON.stringify(small));
    await writeFile(join(dir, 'pytorch_model.bin'), '');
    await expect(loadGPT2(dir)).rejects.toThrow(/save_pretrained/);
  });

  it('a truncated file leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const dir = await folder('cut', small, weights(small));
    const file = join(dir, 'model.safetensors');
    await writeFile(file, (await readFile(file)).subarray(0, -8));
    await expect(loadGPT2(dir)).rejects.toThrow(/truncated/);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('inputs', () => {
  const model = () => randomGPT2(parseGPT2Config('small', small), 1);

  it.each([
    ['an empty batch', [], /at least one token/],
    ['an empty row', [[]], /at least one token/],
    ['ragged rows', [[1, 2], [3]], /1 in row 1/],
    ['an id beyond the vocabulary', [[1, 11]], /11 in row 0, position 1/],
    ['a negative id', [[-1]], /-1/],
    ['a fraction', [[1.5]], /1.5/],
    ['more than n_ctx tokens', [[1, 2, 3, 4, 5, 6, 7]], /at most 6/],
  ])('%s is refused', (_what, tokens, message) => {
    expect(() => model().forward(tokens as number[][])).toThrow(message);
  });

  it('a row, rows and a flat array with its shape mean the same', () => {
    const m = model();
    const of = (tokens: Parameters<typeof m.forward>[0]) => [...tf.tidy(() => m.forward(tokens).dataSync())];
    expect(of([1, 2, 3])).toEqual(of([[1, 2, 3]]));
    expect(of({ ids: Int32Array.of(1, 2, 3), shape: [1, 3] })).toEqual(of([Int32Array.of(1, 2, 3)]));
  });
});

it("the bundled model's hash is that of its file, and loading frees what it does not keep", async () => {
  const model = await loadGPT2(novels);
  expect(model.weightsHash).toBe('b61064fefab384e2a0d59ff4112db6e654356c95add596ee599d98a102b9a720');
  expect(model.cfg).toMatchObject({
    n_layers: 4,
    d_model: 128,
    n_heads: 4,
    d_head: 32,
    d_mlp: 512,
    d_vocab: 4096,
  });
  model.dispose();
  expect((await readSafetensors(join(novels, 'model.safetensors'))).size).toBeGreaterThan(0);
});
