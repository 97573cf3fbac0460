/** @file Greedy continuations against transformers and TransformerLens; sampling by its own rules. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate } from '../../src/model/generate.ts';
import { type GPT2, loadGPT2 } from '../../src/model/gpt2.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { backends, json, novels } from './support.ts';

const { greedy_generation } = await json<{
  greedy_generation: { text: string; prompt: number[]; new_ids: number[] }[];
}>('interventions.json');

let model: GPT2;
beforeAll(async () => {
  await useBackend(backends[0]);
  model = await loadGPT2(novels);
});
afterAll(() => model.dispose());

describe.each(greedy_generation)('after $text', ({ prompt, new_ids }) => {
  it('the greedy ids are those of transformers, with a key/value cache and without', async () => {
    const before = tf.memory().numTensors;
    expect(await generate(model, prompt)).toEqual(new_ids);
    expect(await generate(model, prompt, { use_kv_cache: false })).toEqual(new_ids);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('the same seed draws the same ids, and caching changes nothing', async () => {
    const settings = { seed: 7, temperature: 0.8, top_k: 40, top_p: 0.9 };
    const drawn = await generate(model, prompt, settings);
    expect(await generate(model, prompt, { ...settings, use_kv_cache: false })).toEqual(drawn);
    expect(await generate(model, prompt, { ...settings, seed: 8 })).not.toEqual(drawn);
  });

  it('top_k 1 and a tiny top_p are greedy', async () => {
    expect(await generate(model, prompt, { top_k: 1 })).toEqual(new_ids);
    expect(await generate(model, prompt, { top_p: 1e-9 })).toEqual(new_ids);
  });

  it('streams each id as it is chosen and stops after the stop token', async () => {
    const streamed: number[] = [];
    const ids = await generate(model, prompt, { stop_at: new_ids[3]!, onToken: (id) => streamed.push(id) });
    expect(ids).toEqual(new_ids.slice(0, new_ids.indexOf(new_ids[3]!) + 1));
    expect(streamed).toEqual(ids);
  });
});

it('samples each token as often as its probability says', async () => {
  const [prompt] = greedy_generation.map((g) => g.prompt);
  const logits = model.forward(prompt!, { lastOnly: true });
  const probabilities = tf.tidy(() => tf.softmax(tf.reshape(logits, [4096])).dataSync());
  logits.dispose();
  const counts = new Map<number, number>();
  for (let seed = 0; seed < 300; seed++) {
    const [id] = await generate(model, prompt!, { seed, max_new_tokens: 1 });
    counts.set(id!, (counts.get(id!) ?? 0) + 1);
  }
  const [top, count] = [...counts].sort((a, b) => b[1] - a[1])[0]!;
  // Four standard deviations of a binomial count.
  const p = probabilities[top]!;
  expect(Math.abs(count - 300 * p)).toBeLessThan(4 * Math.sqrt(300 * p * (1 - p)));
});

it('refuses a prompt that does not fit the context with its continuation', async () => {
  const prompt = new Array<number>(250).fill(1);
  await expect(generate(model, prompt, { max_new_tokens: 20 })).rejects.toThrow(/256/);
  await expect(generate(model, [1], { top_p: 0 })).rejects.toThrow(/top_p/);
});
