import { beforeEach, describe, expect, it } from 'vitest';
import { coderConfig } from '../../src/coders/config.ts';
import { trainableNamed } from '../../src/coders/registry.ts';
import type { TrainingCoder } from '../../src/coders/training.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';
import { geometricMedian, parameter } from '../../src/train/initialise.ts';
import { fixtureJson, usableBackends } from './support.ts';

type Matrix = number[][];
interface Equations {
  topk_full_backward: {
    x: Matrix;
    W_enc: Matrix;
    W_dec: Matrix;
    b_enc: number[];
    b_dec: number[];
    k: number;
    acts: Matrix;
    recon: Matrix;
    loss_mse_sum_over_d_mean_over_batch: number;
    grads: { W_enc: Matrix; W_dec: Matrix; b_enc: number[]; b_dec: number[] };
  };
  standard_l1: { coef: number; mse: number; l1: number };
  geometric_median: { x: Matrix; weiszfeld_100it_tol1e5: number[] };
}
const equations = await fixtureJson<Equations>('equations.json');
const small = equations.topk_full_backward;

/** TopK's loss and gradients written once more in plain numbers, float64: sums over d, means over the batch. */
function plainTopK({ x, W_enc, W_dec, b_enc, b_dec, k }: typeof small) {
  const [B, d, F] = [x.length, b_dec.length, b_enc.length];
  const grads = {
    W_enc: Array.from({ length: d }, () => new Array<number>(F).fill(0)),
    W_dec: Array.from({ length: F }, () => new Array<number>(d).fill(0)),
    b_enc: new Array<number>(F).fill(0),
    b_dec: new Array<number>(d).fill(0),
  };
  let loss = 0;
  for (const row of x) {
    const centred = row.map((value, j) => value - b_dec[j]!);
    const z = b_enc.map((b, i) => centred.reduce((sum, value, j) => sum + value * W_enc[j]![i]!, b));
    const kept = [...z.keys()]
      .sort((p, q) => z[q]! - z[p]!)
      .slice(0, k)
      .filter((i) => z[i]! > 0);
    const error = row.map((value, j) =>
      kept.reduce((sum, i) => sum + z[i]! * W_dec[i]![j]!, b_dec[j]! - value),
    );
    const g = error.map((e) => (2 * e) / B);
    loss += error.reduce((sum, e) => sum + e * e, 0) / B;
    for (let j = 0; j < d; j++) grads.b_dec[j]! += g[j]!;
    for (const i of kept) {
      const dz = g.reduce((sum, value, j) => sum + value * W_dec[i]![j]!, 0);
      grads.b_enc[i]! += dz;
      for (let j = 0; j < d; j++) {
        grads.W_dec[i]![j]! += z[i]! * g[j]!;
        grads.W_enc[j]![i]! += dz * centred[j]!;
        grads.b_dec[j]! -= dz * W_enc[j]![i]!;
      }
    }
  }
  return { loss, grads };
}

function coderOf(architecture: string, settings: Record<string, unknown>): TrainingCoder {
  const { W_enc, W_dec, b_enc, b_dec } = small;
  const [d, F] = [b_dec.length, b_enc.length];
  const transposed = Array.from({ length: F }, (_, i) => W_enc.map((row) => row[i]!));
  const { training } = trainableNamed(architecture, 'test');
  return training.create(coderConfig.parse({ architecture, d_in: d, d_sae: F }), settings, {
    W_enc: parameter(Float32Array.from(transposed.flat()), [F, d]),
    b_enc: parameter(Float32Array.from(b_enc), [F]),
    W_dec: parameter(Float32Array.from(W_dec.flat()), [F, d]),
    b_dec: parameter(Float32Array.from(b_dec), [d]),
  });
}

const settings = {
  adam: { lr: 0, beta1: 0.9, beta2: 0.999, eps: 1e-8, step: 1 },
  max_grad_norm: 1,
  coefficient: 1,
  dead: new Int32Array(0),
};

/** Largest difference, relative to the largest entry. */
function relative(found: ArrayLike<number>, expected: number[]): number {
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...expected.map((value, i) => Math.abs(value - found[i]!))) / scale;
}

it('the judge in plain float64 numbers agrees with the published TopK gradients to 1e-9', () => {
  const { loss, grads } = plainTopK(small);
  expect(Math.abs(loss - small.loss_mse_sum_over_d_mean_over_batch)).toBeLessThan(1e-9);
  for (const name of ['W_enc', 'W_dec', 'b_enc', 'b_dec'] as const) {
    expect(relative(grads[name].flat(), small.grads[name].flat()), name).toBeLessThan(1e-9);
  }
});

it('the geometric median is Weiszfeld’s', () => {
  const { x, weiszfeld_100it_tol1e5: expected } = equations.geometric_median;
  const found = geometricMedian(Float32Array.from(x.flat()), expected.length);
  // Where the iteration stops (1e-5) bounds how well two implementations agree.
  expect(relative(found, expected)).toBeLessThan(1e-4);
});

describe.each(await usableBackends())('losses and gradients on %s', (backend) => {
  beforeEach(async () => {
    await useBackend(backend);
  });
  const x = () => tf.tensor2d(small.x);

  it('TopK agrees with the equations to float32', () => {
    const { losses, gradients } = coderOf('topk', {
      k: small.k,
      rescale_acts_by_decoder_norm: false,
    }).gradients({ x: x() }, settings);
    const loss = losses.mse_loss!.dataSync()[0]!;
    expect(Math.abs(loss / small.loss_mse_sum_over_d_mean_over_batch - 1)).toBeLessThan(1e-6);
    for (const name of ['W_enc', 'W_dec', 'b_enc', 'b_dec'] as const) {
      const found = name === 'W_enc' ? tf.transpose(gradients[name]!) : gradients[name]!;
      expect(relative(found.dataSync(), small.grads[name].flat()), name).toBeLessThan(1e-5);
    }
  });

  it('standard agrees with the equations to float32', () => {
    const { coef, mse, l1 } = equations.standard_l1;
    const { losses } = coderOf('standard', { l1_coefficient: coef }).gradients({ x: x() }, settings);
    expect(Math.abs(losses.mse_loss!.dataSync()[0]! / mse - 1)).toBeLessThan(1e-6);
    expect(Math.abs(losses.l1_loss!.dataSync()[0]! / l1 - 1)).toBeLessThan(1e-6);
  });
});
