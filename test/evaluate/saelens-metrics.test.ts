import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Coder, loadCoder } from '../../src/coders/coder.ts';
import type { MetricName } from '../../src/evaluate/definitions.ts';
import { type Evaluation, evaluate } from '../../src/evaluate/evaluate.ts';
import { rowsInMemory } from '../../src/evaluate/token-rows.ts';

import { type GPT2, loadGPT2 } from '../../src/model/gpt2.ts';
import { useBackend } from '../../src/tensor/backend.ts';

const fixtures = new URL('../fixtures/', import.meta.url).pathname;

interface Run {
  exclude_special_tokens: false | number[];
  reconstruction_batches_rows: number[][];
  sparsity_variance_batches_rows: number[][];
  metrics: Record<string, Record<string, number>>;
  feature_metrics: Record<string, number[]>;
  per_token_first_batch?: Record<string, number[][]>;
}

const golden = JSON.parse(readFileSync(join(fixtures, 'evaluate/metrics.json'), 'utf8')) as {
  token_rows: number[][];
  batch_size_prompts: number;
  runs: Record<string, Run>;
};

const folders: Record<string, string> = {
  standard: 'coders/saelens/standard',
  topk: 'coders/saelens/topk',
  batchtopk: 'evaluate/batchtopk',
};

let model: GPT2;
const coders = new Map<string, Coder>();

beforeAll(async () => {
  await useBackend();
  model = await loadGPT2('checkpoints/novels-4l');
  for (const [name, folder] of Object.entries(folders))
    coders.set(name, await loadCoder(join(fixtures, folder)));
});
afterAll(() => model.dispose());

function run(name: string, rows: number[][], per_token = false): Promise<Evaluation> {
  const { exclude_special_tokens } = golden.runs[name]!;
  return evaluate({
    coder: coders.get(name.split('/')[0]!)!,
    model,
    tokens: rowsInMemory(rows.flat().map((row) => golden.token_rows[row]!)),
    exclusions: exclude_special_tokens ? { tokens: new Set(exclude_special_tokens) } : {},
    batch_contexts: golden.batch_size_prompts,
    per_token,
  });
}

describe.each(Object.keys(golden.runs))('SAELens says of %s', (name) => {
  const expected = golden.runs[name]!;

  it('the same about the model with the reconstruction spliced in', async () => {
    const { metrics } = await run(name, expected.reconstruction_batches_rows);
    const groups = ['model_behavior_preservation', 'model_performance_preservation'];
    for (const [metric, value] of groups.flatMap((group) => Object.entries(expected.metrics[group]!))) {
      // 2e-4: float32 logits of another implementation, differences of losses near 5
      expect(Math.abs(metrics[metric as MetricName]! - value), metric).toBeLessThan(2e-4);
    }
  });

  it('the same about reconstruction, shrinkage and sparsity', async () => {
    const { metrics, latents, weights } = await run(name, expected.sparsity_variance_batches_rows);
    const groups = ['reconstruction_quality', 'shrinkage', 'sparsity'];
    for (const [metric, value] of groups.flatMap((group) => Object.entries(expected.metrics[group]!))) {
      // SAELens averages the bias over batches; the pooled value is within the same tolerance here
      const names = metric === 'relative_reconstruction_bias' ? [metric, `${metric}_legacy`] : [metric];
      // 1e-4 relative: float32 activations; a latent at its threshold may flip
      for (const ours of names) {
        expect(Math.abs(metrics[ours as MetricName]! / value - 1), ours).toBeLessThan(1e-4);
      }
    }
    const flips = expected.feature_metrics.feature_density!.filter(
      (density, i) => Math.abs(latents.feature_density[i]! - density) > 1e-6,
    );
    expect(flips.length).toBeLessThanOrEqual(1);
    for (const metric of ['encoder_norm', 'encoder_decoder_cosine_sim', 'encoder_bias'] as const) {
      expected.feature_metrics[metric]!.forEach((value, i) => {
        expect(Math.abs(weights[metric]![i]! - value), `${metric} of ${i}`).toBeLessThan(1e-5);
      });
    }
    expected.feature_metrics.consistent_activation_heuristic!.forEach((value, i) => {
      const ours = latents.consistent_activation_heuristic[i]!;
      if (value === null || Number.isNaN(value)) expect(ours).toBeNaN();
      else expect(Math.abs(ours - value)).toBeLessThan(0.51);
    });
  });
});

it('SAELens says the same about every token of topk/all_tokens', async () => {
  const expected = golden.runs['topk/all_tokens']!;
  const { per_token } = await run('topk/all_tokens', expected.reconstruction_batches_rows.slice(0, 1), true);
  let compared = 0;
  for (const [metric, rows] of Object.entries(expected.per_token_first_batch!)) {
    for (const [context, row] of rows.entries()) {
      for (const [position, value] of row.entries()) {
        const ours = per_token![context]![position]![metric as 'kl_div_with_sae'];
        // one token's value, not a mean: float32 logits of another implementation, through a reconstruction
        expect(Math.abs(ours - value), `${metric}[${context}][${position}]`).toBeLessThan(1e-3);
        compared++;
      }
    }
  }
  expect(compared).toBe(4 * (3 * 47 + 2 * 48));
});
