/** @file Hook points against TransformerLens: names, order, shapes and values of the same run of the same weights. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GPT2 } from '../../src/model/gpt2.ts';
import { loadGPT2 } from '../../src/model/gpt2.ts';
import { allFlags, hookNames, hookShape } from '../../src/model/hook-names.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { backends, Golden, json, novels } from './support.ts';

interface Hooks {
  ids: number[][];
  names_in_firing_order: string[];
  names_with_default_flags: string[];
  shapes: Record<string, number[]>;
  left_padding: { tokens: number[][]; attention_mask: number[][] };
}

const reference = await json<Hooks>('hooks.json');

describe.each(backends)('on %s', (backend) => {
  let model: GPT2;
  beforeAll(async () => {
    await useBackend(backend);
    model = await loadGPT2(novels);
  });
  afterAll(() => model.dispose());

  it('collects all 98 activations of TransformerLens with every flag on, in firing order', async () => {
    const golden = await Golden.open('hooks.safetensors');
    const { cache, logits } = model.runWithCache(reference.ids, { flags: allFlags });
    expect([...cache.keys()]).toEqual(reference.names_in_firing_order);
    for (const [name, tensor] of cache) golden.expectClose(tensor, name);
    golden.expectClose(logits, 'unembed.hook_out');
    cache.dispose();
    logits.dispose();
  });

  it('collects the 74 activations of the default flags, layer norm 1 without a head axis', async () => {
    const golden = await Golden.open('hooks.safetensors');
    const extra = await Golden.open('hooks_extra.safetensors');
    const { cache, logits } = model.runWithCache(reference.ids);
    expect([...cache.keys()]).toEqual(reference.names_with_default_flags);
    for (const [name, tensor] of cache) {
      if (name.includes('.ln1.')) extra.expectClose(tensor, `default_flags/${name}`);
      else golden.expectClose(tensor, name);
    }
    cache.dispose();
    logits.dispose();
  });

  it('gives the same activations whichever are asked for: fused and unfused paths agree', async () => {
    const golden = await Golden.open('hooks.safetensors');
    const { cache, logits } = model.runWithCache(reference.ids, { namesFilter: /resid_post|hook_z$/ });
    expect(cache.size).toBe(8);
    for (const [name, tensor] of cache) golden.expectClose(tensor, name);
    golden.expectClose(logits, 'unembed.hook_out');
    cache.dispose();
    logits.dispose();
  });

  it('pads on the left as TransformerLens: shifted positions, zero rows of the pattern', async () => {
    const golden = await Golden.open('hooks_extra.safetensors');
    const { tokens, attention_mask } = reference.left_padding;
    const { cache, logits } = model.runWithCache(tokens, { attentionMask: attention_mask });
    for (const name of golden.tensors.keys()) {
      const [group, hook] = name.split('/') as [string, string];
      if (group === 'left_padding' && hook !== 'logits_last') golden.expectClose(cache.get(hook)!, name);
    }
    const last = tf.tidy(() => tf.reshape(tf.slice(logits, [0, 7, 0], [2, 1, 4096]), [2, 4096]));
    golden.expectClose(last, 'left_padding/logits_last');
    tf.dispose([last, logits]);
    cache.dispose();
  });

  it('leaves no tensor behind', () => {
    const before = tf.memory().numTensors;
    const { cache, logits } = model.runWithCache(reference.ids, { flags: allFlags });
    expect(tf.memory().numTensors).toBe(before + cache.size + 1);
    cache.dispose();
    logits.dispose();
    model.activations(reference.ids, ['blocks.2.hook_resid_mid']).dispose();
    model.loss(reference.ids).dispose();
    tf.tidy(() => {
      model.runWithCache(reference.ids, { stopAtLayer: 2 });
    });
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('names', () => {
  const cfg = { n_layers: 4, d_model: 128, n_heads: 4, d_head: 32, d_mlp: 512, d_vocab: 4096, n_ctx: 256 };
  const full = {
    ...cfg,
    act_fn: 'gelu_new',
    eps: 1e-5,
    scale_attn_weights: true,
    scale_attn_by_inverse_layer_idx: false,
    tie_word_embeddings: true,
  } as const;

  it('are those of TransformerLens in firing order, with and without flags', () => {
    expect(hookNames(full, allFlags)).toEqual(reference.names_in_firing_order);
    expect(hookNames(full)).toEqual(reference.names_with_default_flags);
  });

  it('have the shapes of TransformerLens', () => {
    for (const [name, shape] of Object.entries(reference.shapes)) {
      expect(hookShape(full, name, [1, 24], allFlags), name).toEqual(shape);
    }
    expect(hookShape(full, 'blocks.0.ln1.hook_scale', [1, 24])).toEqual([1, 24, 1]);
  });
});
