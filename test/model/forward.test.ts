/** @file Logits, losses, gradients, edits and processed weights against transformers and TransformerLens. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GPT2, loadGPT2 } from '../../src/model/gpt2.ts';
import type { Hook, HookFn } from '../../src/model/hooks.ts';
import { standardProcessing } from '../../src/model/process-weights.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { backends, expectClose, Golden, json, novels } from './support.ts';

interface Forward {
  prompts: { name: string; ids: number[][]; logits_positions: [number, number]; loss_mean: number }[];
}
interface Pair {
  name: string;
  clean: number[][];
  corrupted: number[][];
  answer: number[];
  wrong: number[];
  clean_metric: number;
  corrupted_metric: number;
}
interface Interventions {
  pairs: Pair[];
  edits: { list: { name: string; metric: number }[] };
}
interface Processed {
  ids: number[][];
  frobenius_norms: Record<string, number>;
  frobenius_norms_unprocessed: Record<string, number>;
  first_values: Record<string, number[]>;
  shapes: Record<string, number[]>;
}

const { prompts } = await json<Forward>('forward.json');
const { pairs, edits } = await json<Interventions>('interventions.json');
const processed = await json<Processed>('hooks_processed.json');

/** tfjs's plain backend takes seconds for the long prompt: the short one says as much. */
const short = prompts.filter(({ name }) => name === 'short');
/** Prompts whose logits are stored. */
const long = prompts.filter(({ name }) => name !== 'batch2x32');

/** Mean over the batch of logit(answer) - logit(wrong) at the last position. */
function metric(logits: tf.Tensor, { answer, wrong }: Pair): tf.Scalar {
  const [batch, pos, vocab] = logits.shape as [number, number, number];
  const sign = new Float32Array(batch * vocab);
  for (let b = 0; b < batch; b++) {
    sign[b * vocab + answer[b]!]! += 1 / batch;
    sign[b * vocab + wrong[b]!]! -= 1 / batch;
  }
  const last = tf.reshape(tf.slice(logits, [0, pos - 1, 0], [batch, 1, vocab]), [batch, vocab]);
  return tf.sum(tf.mul(last, tf.tensor2d(sign, [batch, vocab]))) as tf.Scalar;
}

/** Frobenius norm, summed in float64 as the reference's. */
const norm = (t: tf.Tensor) =>
  Math.sqrt(Float32Array.from(t.dataSync()).reduce((sum, value) => sum + value * value, 0));

describe.each(backends)('on %s', (backend) => {
  let model: GPT2;
  beforeAll(async () => {
    await useBackend(backend);
    model = await loadGPT2(novels);
  });
  afterAll(() => model.dispose());

  it.each(backend === 'cpu' ? short : long)('logits of $name are those of transformers', async (prompt) => {
    const golden = await Golden.open('forward.safetensors');
    const [from, to] = prompt.logits_positions;
    const logits = tf.tidy(() => tf.slice(model.forward(prompt.ids), [0, from, 0], [1, to - from, 4096]));
    golden.expectClose(logits, `${prompt.name}.logits`);
    logits.dispose();
  });

  it.each(backend === 'cpu' ? short : prompts)(
    'losses of $name are those of transformers, per token and mean',
    async (prompt) => {
      const golden = await Golden.open('forward.safetensors');
      const perToken = model.loss(prompt.ids, { perToken: true });
      golden.expectClose(perToken, `${prompt.name}.loss_per_token`);
      const mean = model.loss(prompt.ids);
      expect(mean.dataSync()[0]).toBeCloseTo(prompt.loss_mean, 5);
      tf.dispose([perToken, mean]);
    },
  );

  it('gradients at every layer of the residual stream are those of autograd', async () => {
    const golden = await Golden.open('interventions.safetensors');
    for (const pair of pairs) {
      const shape = [pair.corrupted.length, pair.corrupted[0]!.length, 128];
      const gradients = tf.tidy(() => {
        const deltas = Array.from({ length: 4 }, () => tf.zeros(shape));
        const run = (...added: tf.Tensor[]) => {
          const fwdHooks = added.map(
            (delta, l): Hook => [`blocks.${l}.hook_resid_pre`, (x) => tf.add(x, delta)],
          );
          return metric(model.runWithHooks(pair.corrupted, { fwdHooks }), pair);
        };
        return tf.stack(tf.grads(run)(deltas));
      });
      golden.expectClose(gradients, `${pair.name}.grad.resid_pre`);
      gradients.dispose();
    }
  });

  it('gradients go through the unfused attention and the per-head paths as well', async () => {
    const golden = await Golden.open('interventions.safetensors');
    const pair = pairs[0]!;
    const flags = { use_attn_result: true, use_split_qkv_input: true };
    const look: Hook[] = [[/hook_pattern|hook_result|hook_scale/, () => {}]];
    const gradient = tf.tidy(() => {
      const run = (delta: tf.Tensor) => {
        const add: Hook = ['blocks.0.hook_resid_pre', (x) => tf.add(x, delta)];
        return metric(model.runWithHooks(pair.corrupted, { fwdHooks: [add, ...look], flags }), pair);
      };
      return tf.grad(run)(tf.zeros([1, 14, 128]));
    });
    const all = golden.tensors.get('pronoun.grad.resid_pre')!.data as Float32Array;
    expectClose(gradient.dataSync(), all.subarray(0, 14 * 128), 'gradient', { atol: 2e-5, rtol: 1e-4 });
    gradient.dispose();
  });

  it('edits by hooks change the logits as in TransformerLens', async () => {
    const golden = await Golden.open('interventions.safetensors');
    const pair = pairs[0]!;
    const vector = (name: string) => tf.tensor1d(golden.tensors.get(`edit.${name}`)!.data as Float32Array);
    const cleanScale = () => {
      return model.runWithCache(pair.clean, { namesFilter: 'ln_final.hook_scale' }).cache.at('scale');
    };
    const where = (shape: number[], test: (index: number) => boolean) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return tf.tensor(
        Uint8Array.from({ length: size }, (_, i) => (test(i) ? 1 : 0)),
        shape,
        'bool',
      );
    };
    const hooks: Record<string, () => [string | RegExp, HookFn]> = {
      none: () => ['hook_embed', () => {}],
      add_vector_all_positions: () => {
        const added = vector('vector_difference');
        return ['blocks.2.hook_resid_pre', (x) => tf.add(x, added)];
      },
      add_vector_one_position: () => {
        const at5 = tf.cast(
          where([1, 14, 1], (i) => i === 5),
          'float32',
        );
        const added = tf.mul(at5, vector('vector_random'));
        return ['blocks.1.hook_mlp_out', (x) => tf.add(x, added)];
      },
      zero_neurons: () => {
        const zeroed = where([512], (i) => [3, 17, 101, 256, 511].includes(i));
        return ['blocks.3.mlp.hook_post', (x) => tf.where(zeroed, 0, x)];
      },
      attention_knockout: () => {
        const cut = where([1, 1, 14, 14], (i) => i >= 13 * 14 + 1 && i <= 13 * 14 + 4);
        return [/attn_scores$/, (x) => tf.where(cut, Number.NEGATIVE_INFINITY, x)];
      },
      uniform_pattern: () => {
        const head2 = where([1, 4, 1, 1], (i) => i === 2);
        const even = Float32Array.from({ length: 196 }, (_, i) =>
          i % 14 <= i / 14 ? 1 / (1 + Math.floor(i / 14)) : 0,
        );
        return ['blocks.0.attn.hook_pattern', (x) => tf.where(head2, tf.tensor4d(even, [1, 1, 14, 14]), x)];
      },
      frozen_final_scale: () => {
        const scale = cleanScale();
        return ['ln_final.hook_scale', () => scale];
      },
      add_to_query_input: () => {
        const head1 = tf.cast(
          where([1, 1, 4, 1], (i) => i === 1),
          'float32',
        );
        const added = tf.mul(tf.mul(head1, vector('vector_random')), 4);
        return ['blocks.2.hook_q_input', (x) => tf.add(x, added)];
      },
      zero_head_result_last: () => {
        const cut = where([1, 14, 4, 1], (i) => i === 13 * 4 + 3);
        return ['blocks.1.attn.hook_result', (x) => tf.where(cut, 0, x)];
      },
      swap_embedding: () => {
        const at3 = where([1, 14, 1], (i) => i === 3);
        const other = tf.slice(model.weights.W_E, [534, 0], [1, 128]);
        return ['hook_embed', (x) => tf.where(at3, other, x)];
      },
    };
    const flags = { use_split_qkv_input: true, use_attn_result: true };
    expect(Object.keys(hooks)).toEqual(edits.list.map(({ name }) => name));
    for (const { name, metric: expected } of edits.list) {
      tf.tidy(() => {
        const logits = model.runWithHooks(pair.corrupted, { fwdHooks: [hooks[name]!()], flags });
        golden.expectClose(
          tf.reshape(tf.slice(logits, [0, 13, 0], [1, 1, 4096]), [4096]),
          `edit.${name}.logits_last`,
        );
        expect(metric(logits, pair).dataSync()[0]).toBeCloseTo(expected, 4);
      });
    }
  });

  it('processed weights have the norms, values and shapes of TransformerLens, and give its activations', async () => {
    const golden = await Golden.open('hooks_processed.safetensors');
    const other = model.process(standardProcessing);
    const state = other.stateDict();
    expect(Object.keys(state).sort()).toEqual(Object.keys(processed.shapes).sort());
    for (const [name, tensor] of Object.entries(state)) {
      expect(tensor.shape, name).toEqual(processed.shapes[name]);
      expectClose([norm(tensor)], [processed.frobenius_norms[name]!], name, { atol: 1e-5, rtol: 1e-4 });
      expectClose(tensor.dataSync().slice(0, 4), processed.first_values[name]!, name, {
        atol: 2e-6,
        rtol: 1e-4,
      });
    }
    const { cache, logits } = other.runWithCache(processed.ids);
    for (const name of golden.tensors.keys())
      if (name !== 'logits') golden.expectClose(cache.get(name)!, name);
    const last = tf.slice(logits, [0, 16, 0], [1, 8, 4096]);
    golden.expectClose(last, 'logits');
    tf.dispose([last, logits, state]);
    cache.dispose();
    other.dispose();
  });

  it('unprocessed weights carry the names of TransformerLens', () => {
    const state = model.stateDict();
    for (const [name, expected] of Object.entries(processed.frobenius_norms_unprocessed)) {
      expectClose([norm(state[name]!)], [expected], name, { atol: 1e-5, rtol: 1e-4 });
    }
    tf.dispose(state);
  });

  it('processing leaves the loss and the original model as they were', () => {
    const { ids } = prompts[2]!;
    const before = model.loss(ids).dataSync()[0]!;
    const other = model.process({ fold_ln: true, fold_value_biases: true });
    expect(other.loss(ids).dataSync()[0]).toBeCloseTo(before, 4);
    other.dispose();
    expect(model.loss(ids).dataSync()[0]).toBe(before);
  });
});
