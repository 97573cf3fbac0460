/**
 * @file The TopK coder (Gao et al., 2024; `sae_lens/saes/topk_sae.py`): the k largest pre-activations of a row, rectified.
 * With `rescale_acts_by_decoder_norm` latents are ranked and reported as if the decoder had unit rows. The training
 * step costs 2·d·F FLOP a row for the encoder and about 8·d·k for everything else: activations, both weight gradients
 * and Adam never leave their sparse form.
 */
import { z } from 'zod';
import { encodeTopK } from '../tensor/kernels/encode-topk.ts';
import { rowNorms } from '../tensor/kernels/row-norms.ts';
import { scatterBias } from '../tensor/kernels/scatter-bias.ts';
import { scatterGrad } from '../tensor/kernels/scatter-grad.ts';
import { sparseDecode } from '../tensor/kernels/sparse-decode.ts';
import { sparseDots } from '../tensor/kernels/sparse-dots.ts';
import * as tf from '../tensor/tf.ts';
import type { Architecture } from './architecture.ts';
import { type AuxKResult, auxiliaryLoss, auxKSettings } from './auxk.ts';
import { Coder, type SparseActivations, type Weights } from './base.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { normalizeRows, restoreRows } from './rows.ts';
import {
  applyGradients,
  type LossGradients,
  type SparseGradient,
  type StepResult,
  type StepSettings,
  type TrainBatch,
  TrainingCoder,
} from './training.ts';
import { inputBiasGradient, maskOf, squaredErrorLoss, unscaled } from './training-maths.ts';

const schema = coderConfig.extend({
  k: z.int().positive().default(100),
  rescale_acts_by_decoder_norm: z.boolean().default(false),
});
type TopKConfig = z.infer<typeof schema>;

/** Inference. */
export class TopKCoder extends Coder<TopKConfig> {
  readonly #norms: tf.Tensor1D | undefined;

  constructor(cfg: TopKConfig, weights: Weights) {
    super(cfg, weights);
    this.#norms = cfg.rescale_acts_by_decoder_norm
      ? tf.keep(tf.tidy(() => rowNorms(this.weight('W_dec'))))
      : undefined;
  }

  override dispose(): void {
    this.#norms?.dispose();
    super.dispose();
  }

  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    const { values, indices } = this.activateSparse(rows);
    return densify(values, indices, this.cfg.d_sae);
  }

  protected override activateSparse(rows: tf.Tensor2D): SparseActivations {
    return encodeTopK(rows, this.weight('W_enc'), this.weight<tf.Tensor1D>('b_enc'), this.cfg.k, {
      scale: this.#norms,
    });
  }

  protected override reconstruct(acts: tf.Tensor2D): tf.Tensor2D {
    return super.reconstruct(this.#norms ? tf.divNoNan(acts, this.#norms) : acts);
  }

  protected override reconstructSparse({ values, indices }: SparseActivations): tf.Tensor2D {
    return sparseDecode(
      this.#norms ? unscaled(values, indices, this.#norms) : values,
      indices,
      this.weight('W_dec'),
      this.weight<tf.Tensor1D>('b_dec'),
    );
  }
}

/** Sparse activations as a matrix [rows, d_sae]. */
export function densify(values: tf.Tensor2D, indices: tf.Tensor2D, d_sae: number): tf.Tensor2D {
  const [rows, k] = indices.shape;
  const row = tf.mul(tf.ones([rows, k], 'int32'), tf.expandDims(tf.range(0, rows, 1, 'int32'), 1));
  const at = tf.stack([tf.reshape(row, [-1]), tf.reshape(indices, [-1])], 1);
  return tf.scatterND(at, tf.reshape(values, [-1]), [rows, d_sae]) as tf.Tensor2D;
}

const trainingSettings = z.object({
  /** Active latents a row; SAELens's default is 100, the papers train 16 to 128. */
  k: z.int().positive().default(100),
  /** Ranks as if decoder rows had norm 1: their norms drift during training and would decide the selection. */
  rescale_acts_by_decoder_norm: z.boolean().default(true),
  ...auxKSettings,
});
type TopKSettings = z.infer<typeof trainingSettings>;

/** What one forward and backward pass leaves: losses, and the gradients as terms. */
type Pass = {
  losses: Record<string, tf.Scalar>;
  squaredError: tf.Scalar;
  values: tf.Tensor2D;
  indices: tf.Tensor2D;
  encoder: SparseGradient;
  decoder: SparseGradient;
  b_enc: tf.Tensor1D;
  b_dec: tf.Tensor1D;
};

/** Loss: mean_b ||x̂ - x||² + AuxK. */
export class TopKTrainingCoder extends TrainingCoder<TopKSettings> {
  #fired = new Int32Array(this.cfg.d_sae);

  async step(batch: TrainBatch, settings: StepSettings): Promise<StepResult> {
    const pass = tf.tidy(() => this.#pass(batch, settings.dead));
    try {
      const { encoder, decoder, b_enc, b_dec } = pass;
      const gradients = { W_enc: { terms: encoder }, b_enc, W_dec: { terms: decoder }, b_dec };
      const result = await applyGradients(this.parameters, gradients, pass, settings);
      return { ...result, fired: await this.#countFired(pass) };
    } finally {
      tf.dispose(pass);
    }
  }

  gradients(batch: TrainBatch, settings: StepSettings): LossGradients {
    return tf.tidy(() => {
      const { losses, squaredError, ...pass } = this.#pass(batch, settings.dead);
      const { d_sae } = this.cfg;
      const gradients = {
        W_enc: scatterGrad(pass.encoder, d_sae),
        b_enc: pass.b_enc,
        W_dec: scatterGrad(pass.decoder, d_sae),
        b_dec: pass.b_dec,
      };
      const fired = tf.sum(maskOf(densify(pass.values, pass.indices, d_sae)), 0);
      return { losses, gradients, squaredError, fired };
    });
  }

  /**
   * With norms n, activations are a = relu(z n) and the decoder sees a / n = relu(z): n decides the selection only, and
   * its gradient cancels exactly. For a selected latent with z > 0: dz = g · W_dec[i], dW_enc[i] += dz · row,
   * dW_dec[i] += (a / n) · g.
   */
  #pass({ x, y = x }: TrainBatch, dead: Int32Array): Pass {
    const { W_enc, b_enc, W_dec, b_dec } = this.values();
    const { k, rescale_acts_by_decoder_norm } = this.settings;
    const normalized = normalizeRows(x, this.cfg.normalize_activations);
    const rows = this.cfg.apply_b_dec_to_input
      ? (tf.sub(normalized.rows, b_dec) as tf.Tensor2D)
      : tf.clone(normalized.rows);
    const norms = rescale_acts_by_decoder_norm ? rowNorms(W_dec) : undefined;
    const { values, indices } = encodeTopK(rows, W_enc, b_enc, k, { scale: norms });
    const coefficients = norms ? unscaled(values, indices, norms) : values;
    const output = restoreRows(sparseDecode(coefficients, indices, W_dec, b_dec), normalized);
    const mse = squaredErrorLoss(output, y, normalized.scale);
    const dz = tf.mul(sparseDots(mse.gradient, indices, W_dec), maskOf(values)) as tf.Tensor2D;

    const aux: AuxKResult | undefined = auxiliaryLoss(
      { rows, error: mse.error, outputScale: normalized.scale, W_enc, b_enc, W_dec, norms, dead },
      this.settings,
    );
    const encoder = [{ indices, coefficients: dz, rows }, ...(aux ? [aux.encoder] : [])];
    const decoder = [{ indices, coefficients, rows: mse.gradient }, ...(aux ? [aux.decoder] : [])];
    const db_enc = scatterBias(encoder, this.cfg.d_sae);
    return {
      losses: { mse_loss: mse.loss, auxiliary_reconstruction_loss: aux?.loss ?? tf.scalar(0) },
      squaredError: mse.total,
      values,
      indices,
      encoder,
      decoder,
      b_enc: db_enc,
      b_dec: inputBiasGradient(mse.gradient, db_enc, W_enc, this.cfg.apply_b_dec_to_input),
    };
  }

  async #countFired({ values, indices }: Pass): Promise<Int32Array> {
    const [v, at] = await Promise.all([values.data(), indices.data()]);
    this.#fired.fill(0);
    for (let i = 0; i < v.length; i++) if (v[i]! > 0) this.#fired[at[i]!]!++;
    return this.#fired;
  }
}

export const topk: Architecture = {
  name: 'topk',
  about: 'the k largest latents of a row, with AuxK against dead ones',
  schema,
  shapes: {
    W_enc: ['d_in', 'd_sae'],
    b_enc: ['d_sae'],
    W_dec: ['d_sae', 'd_out'],
    b_dec: ['d_out'],
  },
  preActivationUnits: ['b_enc'],
  cannotFoldNorms: (cfg) =>
    cfg.rescale_acts_by_decoder_norm
      ? undefined
      : 'without rescale_acts_by_decoder_norm the norms would change which latents are the k largest',
  create: (cfg, weights) => new TopKCoder(schema.parse(cfg), weights),
  training: {
    settings: trainingSettings,
    coderKeys: ['k', 'rescale_acts_by_decoder_norm'],
    decoder_init_norm: 0.1,
    create: (cfg: CoderConfig, settings, parameters) =>
      new TopKTrainingCoder(cfg, trainingSettings.parse(settings), parameters),
  },
};
