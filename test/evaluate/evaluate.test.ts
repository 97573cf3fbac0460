import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Coder } from '../../src/coders/coder.ts';
import { coderConfig } from '../../src/coders/config.ts';
import { silent } from '../../src/context.ts';
import { evaluate } from '../../src/evaluate/evaluate.ts';
import { evaluateRows } from '../../src/evaluate/evaluate-rows.ts';
import { rowsInMemory } from '../../src/evaluate/token-rows.ts';
import { type GPT2, loadGPT2 } from '../../src/model/gpt2.ts';
import type { BlockSource } from '../../src/shards/block-source.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';

const HOOK = 'blocks.2.hook_resid_pre';
const WIDTH = 128;
const BOS = 4095;

/** A coder without weights: activations are the row itself (shifted so that none is 0), output is what it is told. */
class Told extends Coder {
  readonly #output: (x: tf.Tensor2D) => tf.Tensor;
  constructor(output: (x: tf.Tensor2D) => tf.Tensor) {
    const metadata = { hook_name: HOOK };
    super(
      coderConfig.parse({
        architecture: 'told',
        d_in: WIDTH,
        d_sae: WIDTH,
        apply_b_dec_to_input: false,
        metadata,
      }),
      {},
    );
    this.#output = output;
  }
  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    return tf.add(rows, 1000);
  }
  override decode(_acts: tf.Tensor, input?: tf.Tensor): tf.Tensor {
    return tf.tidy(() => this.#output(input as tf.Tensor2D));
  }
}

const rows = (
  JSON.parse(readFileSync(new URL('../fixtures/evaluate/metrics.json', import.meta.url), 'utf8')) as {
    token_rows: number[][];
  }
).token_rows;
const tokens = rowsInMemory(rows.slice(0, 4));

let model: GPT2;
beforeAll(async () => {
  await useBackend();
  model = await loadGPT2('checkpoints/novels-4l');
});
afterAll(() => model.dispose());

describe('a coder in the model', () => {
  it('that changes nothing has explained variance 1, L0 d, CE score 1 and KL 0', async () => {
    const { metrics } = await evaluate({ coder: new Told((x) => tf.clone(x)), model, tokens });
    expect(metrics.explained_variance).toBe(1);
    expect(metrics.l0).toBe(WIDTH);
    expect(metrics.ce_loss_score).toBeCloseTo(1, 6);
    expect(metrics.ce_loss_score_mean_ablation).toBeCloseTo(1, 6);
    expect(metrics.kl_div_with_sae).toBeCloseTo(0, 6);
    expect(metrics.ce_loss_with_sae).toBeCloseTo(metrics.ce_loss_without_sae!, 6);
  });

  it('that always says zero has CE score 0 and the loss of the ablation', async () => {
    const { metrics } = await evaluate({ coder: new Told((x) => tf.zerosLike(x)), model, tokens });
    expect(metrics.ce_loss_score).toBeCloseTo(0, 6);
    expect(metrics.kl_div_score).toBeCloseTo(0, 6);
    expect(metrics.ce_loss_with_sae).toBeCloseTo(metrics.ce_loss_with_ablation!, 6);
  });

  it('that always says the mean has explained variance 0 and the loss of the mean ablation', async () => {
    const activations = model.activations(rows.slice(0, 4), [HOOK]);
    const mean = tf.mean(tf.reshape(activations.at(HOOK), [-1, WIDTH]), 0, true);
    const told = new Told((x) => tf.mul(tf.onesLike(x), mean));
    const { metrics } = await evaluate({ coder: told, model, tokens });
    // float32 rounding of the mean over 192 rows
    expect(metrics.explained_variance).toBeCloseTo(0, 5);
    expect(metrics.ce_loss_with_sae).toBeCloseTo(metrics.ce_loss_with_mean_ablation!, 4);
    expect(metrics.ce_loss_score_mean_ablation).toBeCloseTo(0, 4);
    activations.dispose();
    mean.dispose();
  });

  it('is measured alike however the contexts are cut into batches', async () => {
    const coder = new Told((x) => tf.mul(x, 0.9));
    const measure = async (batch_contexts: number) =>
      (await evaluate({ coder, model, tokens, batch_contexts })).metrics;
    const [all, one, three] = [await measure(4), await measure(1), await measure(3)];
    for (const metrics of [one, three]) {
      for (const [name, value] of Object.entries(all)) {
        if (name.endsWith('_legacy')) continue;
        // the model's own sums may be ordered differently for another batch
        expect(Math.abs(metrics[name as 'mse']! - value), name).toBeLessThan(
          1e-5 * Math.max(1, Math.abs(value)),
        );
      }
    }
  });

  it('keeps its hands off excluded positions: they enter no mean and keep their activation', async () => {
    const exclusions = { tokens: new Set([BOS]) };
    const evaluation = await evaluate({
      coder: new Told((x) => tf.mul(x, 0.5)),
      model,
      tokens,
      exclusions,
      per_token: true,
    });
    const excluded = rows
      .slice(0, 4)
      .flat()
      .filter((id) => id === BOS).length;
    expect(evaluation.tokens).toEqual({ contexts: 4, total: 4 * 48, counted: 4 * 48 - excluded });
    expect(evaluation.per_token![0]![0]!.kl_div_with_sae).toBeNaN();
    expect(evaluation.per_token![0]![1]!.kl_div_with_sae).toBeGreaterThan(0);
    // Spliced at position 47 only: earlier positions are untouched, so are their predictions.
    const last = { seqpos_slice: [47, null] };
    const late = await evaluate({ coder: new Told((x) => tf.zerosLike(x)), model, tokens, exclusions: last });
    expect(late.tokens.counted).toBe(4);
    expect(late.metrics.kl_div_with_sae).toBeGreaterThan(0.1);
  });

  it('is refused when no position counts', async () => {
    const exclusions = { seqpos_slice: [48, null] };
    const coder = new Told((x) => tf.clone(x));
    await expect(evaluate({ coder, model, tokens, exclusions })).rejects.toThrow(/position/);
  });

  it('leaves no tensor behind', async () => {
    const coder = new Told((x) => tf.mul(x, 0.9));
    await evaluate({ coder, model, tokens });
    const before = tf.memory().numTensors;
    await evaluate({ coder, model, tokens });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('stops between batches when told', async () => {
    const stop = new AbortController();
    stop.abort(new Error('Ctrl-C'));
    const coder = new Told((x) => tf.clone(x));
    await expect(evaluate({ coder, model, tokens }, silent(stop.signal))).rejects.toThrow('Ctrl-C');
  });
});

describe('a coder on stored rows', () => {
  it('has the same reconstruction and sparsity as on the model that made them', async () => {
    const coder = new Told((x) => tf.mul(x, 0.9));
    const inModel = await evaluate({ coder, model, tokens });
    const activations = model.activations(rows.slice(0, 4), [HOOK]);
    const source: BlockSource = {
      hooks: [{ name: HOOK, width: WIDTH }],
      blockRows: [4 * 48],
      contentHash: '',
      readBlock: async () => ({
        rows: 4 * 48,
        activations: new Map([[HOOK, activations.at(HOOK).dataSync() as Float32Array]]),
        tokenId: new Int32Array(4 * 48),
        seqId: Uint32Array.from({ length: 4 * 48 }, (_, i) => Math.floor(i / 48)),
        pos: new Uint16Array(4 * 48),
      }),
      close: async () => {},
    };
    const stored = await evaluateRows({ coder, source });
    expect(stored.metrics.ce_loss_score).toBeUndefined();
    for (const [name, value] of Object.entries(stored.metrics)) {
      expect(Math.abs(value - inModel.metrics[name as 'mse']!), name).toBeLessThan(1e-6);
    }
    activations.dispose();
  });
});
