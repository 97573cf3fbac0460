/** @file Hook points by name and by glob: what a setting adds is on where it is named; what is near a wrong name. */
import { beforeAll, describe, expect, test } from 'vitest';
import { parseGPT2Config } from '../../src/model/config.ts';
import { randomGPT2 } from '../../src/model/gpt2.ts';
import { expandHooks } from '../../src/model/hook-globs.ts';
import { checkHookName, flagsFor, hookNames } from '../../src/model/hook-names.ts';
import { nearestHooks } from '../../src/model/nearest-hooks.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';

const cfg = parseGPT2Config('tiny', { n_layer: 3, n_head: 2, n_embd: 8, n_positions: 8, vocab_size: 11 });

beforeAll(() => useBackend('cpu'));

describe('hook points that a setting adds', () => {
  test.each([
    ['blocks.1.hook_mlp_in', [1, 3, 8]],
    ['blocks.1.attn.hook_result', [1, 3, 2, 8]],
    ['blocks.0.hook_q_input', [1, 3, 2, 8]],
    ['blocks.2.hook_attn_in', [1, 3, 2, 8]],
  ])('%s fires where it is named: collected, hooked, cached', (name, shape) => {
    const model = randomGPT2(cfg, 3);
    const cache = model.activations([1, 2, 3], [name]);
    expect(cache.get(name)!.shape).toEqual(shape);
    let seen = 0;
    const fwdHooks = [[name, () => void seen++]] as const;
    tf.dispose(model.runWithHooks([1, 2, 3], { fwdHooks }));
    expect(seen).toBe(1);
    expect(() => model.addHook(name, () => {})).toThrow(/model.flags.use_/);
    cache.dispose();
    model.dispose();
  });

  test('are told by their names alone', () => {
    expect(flagsFor(['blocks.0.hook_mlp_in', 'blocks.0.hook_resid_pre'])).toEqual({ use_hook_mlp_in: true });
    expect(flagsFor(['blocks.0.hook_k_input', 'blocks.9.attn.hook_result'])).toEqual({
      use_split_qkv_input: true,
      use_attn_result: true,
    });
  });
});

describe('globs', () => {
  test('mean what fires; where nothing does, what a setting adds', () => {
    expect(expandHooks(cfg, ['blocks.*.hook_mlp_out'])).toHaveLength(3);
    expect(expandHooks(cfg, ['blocks.*.hook_mlp_in'])).toEqual(
      [0, 1, 2].map((l) => `blocks.${l}.hook_mlp_in`),
    );
    expect(expandHooks(cfg, ['blocks.0.*'])).not.toContain('blocks.0.hook_mlp_in');
    expect(expandHooks(cfg, ['all'])).toEqual(hookNames(cfg));
    expect(expandHooks(cfg, ['blocks.1.hook_resid_pre, blocks.*.hook_resid_pre'])).toEqual(
      [1, 0, 2].map((l) => `blocks.${l}.hook_resid_pre`),
    );
  });

  test('of rows leave out what has one number for a pair of tokens', () => {
    const names = expandHooks(cfg, ['blocks.0.attn.*'], { rowsOnly: true });
    expect(names).toEqual(['q', 'k', 'v', 'z'].map((kind) => `blocks.0.attn.hook_${kind}`));
    expect(() => expandHooks(cfg, ['*hook_pattern'], { rowsOnly: true })).toThrow(/no row per token/);
  });

  test('that match nothing say what would', () => {
    expect(() => expandHooks(cfg, ['blocks.*.resid_post'])).toThrow(/blocks\.\*\.hook_resid_post/);
    expect(() => expandHooks(cfg, ['blocks.2.*'], { stopAtLayer: 1 })).toThrow(/later than the run stops/);
  });
});

test.each([
  ['blocks.2.resid_pre', 'blocks.2.hook_resid_pre'],
  ['resid_post.1', 'blocks.1.hook_resid_post'],
  ['resid_mid2', 'blocks.2.hook_resid_mid'],
  ['transformer.h.2.mlp', 'blocks.2.hook_mlp_out'],
  ['h.1', 'blocks.1.hook_resid_post'],
  ['blocks.2.hook_mlp_outs', 'blocks.2.hook_mlp_out'],
  ['blocks.1.mlp.hook_posts', 'blocks.1.mlp.hook_post'],
  ['resid_pre', 'blocks.0.hook_resid_pre'],
  ['hook_mlp_out', 'blocks.0.hook_mlp_out'],
  ['residual', 'blocks.0.hook_resid_post'],
  ['layer 2', 'blocks.2.hook_resid_post'],
  ['model.layers.1.self_attn', 'blocks.1.hook_attn_out'],
  ['ln_final', 'ln_final.hook_normalized'],
])('%s is nearest to %s', (name, hook) => {
  expect(nearestHooks(name, hookNames(cfg), 1)).toEqual([hook]);
  expect(() => checkHookName(cfg, name)).toThrow(/nearest names/);
});
