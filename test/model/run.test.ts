/** @file What hooks may do, where runs stop, and what is written to files: on a small random model. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actName } from '../../src/model/act-name.ts';
import { parseGPT2Config } from '../../src/model/config.ts';
import { type GPT2, loadGPT2, randomGPT2 } from '../../src/model/gpt2.ts';
import { hookLayer, hookNames, hookWidth, stopLayerFor } from '../../src/model/hook-names.ts';
import { promptIds, readTokenIds } from '../../src/model/prompt.ts';
import { recordActivations } from '../../src/model/record.ts';
import { readSafetensors } from '../../src/model/safetensors.ts';
import { loadTokenizer } from '../../src/model/tokenizer.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { backends, expectClose, novels } from './support.ts';

const cfg = parseGPT2Config('small', { n_layer: 3, n_embd: 8, n_head: 2, n_positions: 8, vocab_size: 13 });
const tokens = [
  [1, 2, 3, 4],
  [5, 6, 7, 8],
];
let model: GPT2;
let dir: string;
beforeAll(async () => {
  await useBackend(backends[0]);
  model = randomGPT2(cfg, 3);
  dir = await mkdtemp(join(tmpdir(), 'unfold-run-'));
});
afterAll(async () => {
  model.dispose();
  await rm(dir, { recursive: true });
});

const values = (run: () => tf.Tensor) => [...tf.tidy(() => run().dataSync())];
const close = { atol: 1e-6, rtol: 1e-4 };
const plain = () => values(() => model.forward(tokens));

describe('hooks', () => {
  it('see activations without changing them, at names, lists, expressions and predicates', () => {
    const seen: string[] = [];
    const see = (_: tf.Tensor, hook: { name: string; layer: number | undefined }) => {
      seen.push(`${hook.layer}:${hook.name}`);
    };
    const out = values(() =>
      model.runWithHooks(tokens, {
        fwdHooks: [
          ['hook_embed', see],
          [['blocks.0.attn.hook_z', 'blocks.1.attn.hook_z'], see],
          [/^blocks\.2\.hook_resid/, see],
          [(name) => name === 'unembed.hook_out', see],
        ],
      }),
    );
    expect(seen).toEqual([
      'undefined:hook_embed',
      '0:blocks.0.attn.hook_z',
      '1:blocks.1.attn.hook_z',
      '2:blocks.2.hook_resid_pre',
      '2:blocks.2.hook_resid_mid',
      '2:blocks.2.hook_resid_post',
      'undefined:unembed.hook_out',
    ]);
    expect(out).toEqual(plain());
  });

  it('replace activations, one after the other, and the cache holds the replacement', () => {
    const { cache, logits } = model.runWithCache(tokens, {
      namesFilter: 'blocks.1.hook_mlp_out',
      fwdHooks: [
        ['blocks.1.hook_mlp_out', (x) => tf.onesLike(x)],
        ['blocks.1.hook_mlp_out', (x) => tf.add(x, 1)],
      ],
    });
    expect(new Set(cache.at('mlp_out', 1).dataSync())).toEqual(new Set([2]));
    tf.dispose(logits);
    cache.dispose();
  });

  it('may return a tensor of their own, which stays theirs', () => {
    const { cache, logits } = model.runWithCache(tokens, { namesFilter: 'blocks.1.hook_resid_mid' });
    const kept = cache.at('resid_mid', 1);
    for (let i = 0; i < 2; i++) {
      model.runWithHooks(tokens, { fwdHooks: [['blocks.1.hook_resid_mid', () => kept]] }).dispose();
    }
    expect(kept.isDisposed).toBe(false);
    tf.dispose(logits);
    cache.dispose();
  });

  it('may keep the activation that they see', () => {
    let kept: tf.Tensor | undefined;
    const keep = (x: tf.Tensor) => {
      kept = tf.keep(x);
    };
    model.runWithHooks(tokens, { fwdHooks: [['blocks.1.hook_resid_pre', keep]] }).dispose();
    expect(kept!.dataSync().length).toBe(64);
    kept!.dispose();
  });

  it('stay until they are reset if they are added to the model, and come before those of the run', () => {
    model.addHook('blocks.0.hook_attn_out', (x) => tf.zerosLike(x));
    const changed = plain();
    model.resetHooks();
    expect(changed).not.toEqual(plain());
    const sum = (run: { stopAtLayer?: number }) => {
      model.addHook('blocks.2.hook_resid_pre', (x) => tf.zerosLike(x));
      const { cache, logits } = model.runWithCache(tokens, {
        ...run,
        namesFilter: 'blocks.2.hook_resid_pre',
      });
      model.resetHooks();
      const total = values(() => tf.sum(tf.abs(cache.at('resid_pre', 2))))[0];
      tf.dispose(logits);
      cache.dispose();
      return total;
    };
    expect([sum({}), sum({ stopAtLayer: 2 })]).toEqual([0, 0]);
  });

  it('unknown names, silent flags, useless patterns and wrong shapes are errors', () => {
    const run = (filter: string | RegExp, stopAtLayer?: number) => () =>
      model.forward(tokens, {
        fwdHooks: [[filter, () => {}]],
        ...(stopAtLayer !== undefined && { stopAtLayer }),
      });
    expect(run('blocks.1.hook_resid_preq')).toThrow(/nearest names: blocks.1.hook_resid_pre/);
    expect(run('blocks.3.hook_resid_pre')).toThrow(/3 layers/);
    expect(run('blocks.1.attn.hook_result')).not.toThrow();
    expect(() => model.addHook('blocks.1.attn.hook_result', () => {})).toThrow(/use_attn_result/);
    expect(run(/resid_between/)).toThrow(/no match/);
    expect(run('blocks.2.hook_mlp_out', 2)).toThrow(/stopAtLayer 2/);
    const bad = () => model.forward(tokens, { fwdHooks: [['hook_embed', () => tf.zeros([1])]] });
    expect(bad).toThrow(/shape \[2, 4, 8\]/);
  });

  it('an error in a hook leaves no tensor behind', () => {
    const before = tf.memory().numTensors;
    const fail = () => {
      throw new Error('mine');
    };
    expect(() => model.runWithCache(tokens, { fwdHooks: [['blocks.2.hook_mlp_out', fail]] })).toThrow('mine');
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('stopping', () => {
  it('stopAtLayer n gives the residual stream before block n; negative counts from the end', () => {
    const { cache, logits } = model.runWithCache(tokens);
    const pre = [...cache.at('resid_pre', 2).dataSync()];
    const post = [...cache.at('resid_post', 2).dataSync()];
    tf.dispose(logits);
    cache.dispose();
    // The cached run looked inside, so it ran unfused: the last bits differ.
    expectClose(
      values(() => model.forward(tokens, { stopAtLayer: 2 })),
      pre,
      'pre',
      close,
    );
    expectClose(
      values(() => model.forward(tokens, { stopAtLayer: -1 })),
      pre,
      'pre',
      close,
    );
    expectClose(
      values(() => model.forward(tokens, { stopAtLayer: 3 })),
      post,
      'post',
      close,
    );
    expect(() => model.forward(tokens, { stopAtLayer: 4 })).toThrow(/-3 to 3/);
  });

  it('a cache of everything holds what TransformerLens holds; the boundary must be asked for by name', () => {
    const names = (namesFilter?: string) => {
      const { cache, logits } = model.runWithCache(tokens, {
        stopAtLayer: 1,
        ...(namesFilter && { namesFilter }),
      });
      const found = [...cache.keys()];
      tf.dispose(logits);
      cache.dispose();
      return found;
    };
    expect(names()).toEqual(hookNames(cfg).filter((name) => /^hook_|^blocks\.0/.test(name)));
    expect(names('blocks.1.hook_resid_pre')).toEqual(['blocks.1.hook_resid_pre']);
  });

  it('the smallest layer at which names fire', () => {
    expect(stopLayerFor(['blocks.8.hook_resid_pre'])).toBe(8);
    expect(stopLayerFor(['blocks.8.hook_resid_pre', 'blocks.7.hook_mlp_out'])).toBe(8);
    expect(stopLayerFor(['blocks.8.attn.hook_z'])).toBe(9);
    expect(stopLayerFor(['hook_embed'])).toBe(0);
    expect(stopLayerFor(['hook_embed', 'ln_final.hook_scale'])).toBeUndefined();
  });

  it('activations() computes nothing after the last of them, and gives what a whole run gives', () => {
    const names = ['blocks.1.hook_resid_mid', 'hook_pos_embed'];
    let beyond = 0;
    const count = () => {
      beyond++;
    };
    model.addHook(/blocks\.1\.(ln2|mlp)|blocks\.2/, count);
    const cache = model.activations(tokens, names);
    expect(beyond).toBe(0);
    model.resetHooks();
    const whole = model.runWithCache(tokens, { namesFilter: names });
    expect([...cache.keys()]).toEqual(['hook_pos_embed', 'blocks.1.hook_resid_mid']);
    for (const name of names) expect(cache.get(name)!.dataSync()).toEqual(whole.cache.get(name)!.dataSync());
    tf.dispose(whole.logits);
    whole.cache.dispose();
    cache.dispose();
  });

  it('with split inputs activations() waits for the layer norm of the value input', () => {
    const flags = { use_split_qkv_input: true };
    const name = 'blocks.0.ln1.hook_normalized';
    const fwdHooks = [['blocks.0.hook_v_input', (x: tf.Tensor) => tf.square(x)]] as const;
    const cache = model.activations(tokens, [name], { flags, fwdHooks });
    const whole = model.runWithCache(tokens, { namesFilter: name, flags, fwdHooks });
    expect(cache.get(name)!.dataSync()).toEqual(whole.cache.get(name)!.dataSync());
    tf.dispose(whole.logits);
    whole.cache.dispose();
    cache.dispose();
  });
});

describe('names', () => {
  it("shorthand is that of TransformerLens's get_act_name", () => {
    expect(actName('resid_pre', 2)).toBe('blocks.2.hook_resid_pre');
    expect(actName('q', 5)).toBe('blocks.5.attn.hook_q');
    expect(actName('attn', 2)).toBe('blocks.2.attn.hook_pattern');
    expect(actName('post', 1)).toBe('blocks.1.mlp.hook_post');
    expect(actName('scale', 3, 'ln1')).toBe('blocks.3.ln1.hook_scale');
    expect(actName('scale')).toBe('ln_final.hook_scale');
    expect(actName('pre4')).toBe('blocks.4.mlp.hook_pre');
    expect(actName('embed')).toBe('hook_embed');
    expect(actName('blocks.0.hook_mlp_out')).toBe('blocks.0.hook_mlp_out');
  });

  it('layer and row width', () => {
    expect(hookLayer('blocks.11.attn.hook_z')).toBe(11);
    expect(hookLayer('hook_embed')).toBeUndefined();
    expect(hookWidth(cfg, 'blocks.0.attn.hook_z')).toBe(8);
    expect(hookWidth(cfg, 'blocks.0.mlp.hook_post')).toBe(32);
    expect(() => hookWidth(cfg, 'blocks.0.attn.hook_pattern')).toThrow(/hook_z/);
  });
});

describe('losses', () => {
  it('of padded rows are those of the rows alone, and padding does not count', () => {
    const alone = values(() => model.loss([[1, 2, 3]], { perToken: true }));
    for (const [row, attention, at] of [
      [[0, 0, 1, 2, 3], [0, 0, 1, 1, 1], 2],
      [[1, 2, 3, 0, 0], [1, 1, 1, 0, 0], 0],
    ] as const) {
      const options = { attentionMask: [[...attention]] };
      const padded = values(() => model.loss([[...row]], { ...options, perToken: true }));
      for (const [i, loss] of alone.entries()) expect(padded[at + i]).toBeCloseTo(loss, 5);
      const mean = values(() => model.loss([[...row]], options))[0]!;
      expect(mean).toBeCloseTo((alone[0]! + alone[1]!) / 2, 5);
    }
  });

  it('see hooks, on the logits too', () => {
    const zero = [['unembed.hook_out', (x: tf.Tensor) => tf.zerosLike(x)]] as const;
    expect(values(() => model.loss(tokens, { fwdHooks: zero }))[0]).toBeCloseTo(Math.log(13), 5);
    expect(() => model.loss([[1]])).toThrow(/at least two/);
  });
});

describe('a file of activations', () => {
  it('holds names from globs, the tokens, and logits only of a whole run', async () => {
    const out = join(dir, 'acts.safetensors');
    const whole = await recordActivations(model, {
      tokens,
      hooks: ['blocks.*.hook_resid_post,hook_embed'],
      out,
    });
    expect(whole.tensors.map(({ name }) => name)).toEqual([
      'hook_embed',
      'blocks.0.hook_resid_post',
      'blocks.1.hook_resid_post',
      'blocks.2.hook_resid_post',
      'logits',
    ]);
    const file = await readSafetensors(out);
    expect(Array.from(file.get('tokens')!.data, Number)).toEqual(tokens.flat());
    expect(file.get('tokens')).toMatchObject({ dtype: 'I64', shape: [2, 4] });
    expect([...file.get('logits')!.data]).toEqual(plain());
    const part = { tokens, hooks: ['blocks.1.hook_resid_pre'], stop_at_layer: 1, out };
    expect((await recordActivations(model, part)).tensors.map(({ name }) => name)).toEqual([
      'blocks.1.hook_resid_pre',
    ]);
    await expect(recordActivations(model, { ...part, hooks: ['blocks.*.hook_nothing'] })).rejects.toThrow(
      /no match/,
    );
    await expect(recordActivations(model, { ...part, hooks: [''] })).rejects.toThrow(/globs or all/);
  });

  it('token ids come from a file of one row or of several; prompts get BOS, and <|endoftext|> is special', async () => {
    const path = join(dir, 'ids.json');
    await writeFile(path, '[1, 2]');
    expect(await readTokenIds(path)).toEqual([[1, 2]]);
    await writeFile(path, '[[1, 2], [3, 4]]');
    expect(await readTokenIds(path)).toEqual([
      [1, 2],
      [3, 4],
    ]);
    await writeFile(path, '{"ids": 1}');
    await expect(readTokenIds(path)).rejects.toThrow(/\[\[1, 2, 3\], …\]/);
    const tokenizer = await loadTokenizer(novels);
    expect(await promptIds(tokenizer, 'Once upon a time')).toEqual([4095, 2274, 326, 632, 258, 626]);
    expect(await promptIds(tokenizer, '<|endoftext|>Once', false)).toEqual([4095, 2274, 326]);
    await expect(promptIds(tokenizer, '', false)).rejects.toThrow(/at least one token/);
  });
});

it('the bundled model predicts real text far better than chance', async () => {
  const bundled = await loadGPT2(novels);
  const tokenizer = await loadTokenizer(novels);
  const ids = await promptIds(
    tokenizer,
    'The old woman looked round the room, and then she took off her bonnet.',
  );
  expect(values(() => bundled.loss([ids]))[0]).toBeLessThan(Math.log(4096) - 3);
  bundled.dispose();
});
