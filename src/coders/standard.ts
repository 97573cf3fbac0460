/**
 * @file The standard coder: relu latents, a sparsity penalty weighted by the decoder's norms (Anthropic's April 2024
 * update; `sae_lens/saes/standard_sae.py`). Loss and gradients: `sae-training` notes 2.2; they are written out by hand
 * and judged in the tests by autodiff, finite differences and SAELens's own training records. The step is dense: how
 * many latents are active is not known beforehand.
 */
import { z } from 'zod';
import { rowNorms } from '../tensor/kernels/row-norms.ts';
import * as tf from '../tensor/tf.ts';
import type { Architecture } from './architecture.ts';
import { Coder } from './base.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { normalizeRows, restoreRows } from './rows.ts';
import {
  denseStep,
  type LossGradients,
  type StepResult,
  type StepSettings,
  type TrainBatch,
  TrainingCoder,
} from './training.ts';
import { columnSums, inputBiasGradient, maskOf, squaredErrorLoss } from './training-maths.ts';

/** Inference: a = relu(x W_enc + b_enc). */
export class StandardCoder extends Coder {
  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    return tf.relu(this.preActivations(rows));
  }
}

const trainingSettings = z.object({
  /** λ: weight of the penalty. SAELens's default; 5 is usual with normalised activations. */
  l1_coefficient: z.number().nonnegative().default(1),
  /** p of the penalty's norm over latents. */
  lp_norm: z.number().positive().default(1),
});
type StandardSettings = z.infer<typeof trainingSettings>;

/** Loss: mean_b ||x̂ - x||² + λ mean_b ||a ∘ n||_p with n_i = ||W_dec[i]||. */
export class StandardTrainingCoder extends TrainingCoder<StandardSettings> {
  step(batch: TrainBatch, settings: StepSettings): Promise<StepResult> {
    return denseStep(this, batch, settings);
  }

  gradients({ x, y = x }: TrainBatch, { coefficient }: StepSettings): LossGradients {
    return tf.tidy(() => {
      const { W_enc, b_enc, W_dec, b_dec } = this.values();
      const normalized = normalizeRows(x, this.cfg.normalize_activations);
      const rows = this.cfg.apply_b_dec_to_input ? tf.sub(normalized.rows, b_dec) : normalized.rows;
      const z = tf.add(tf.matMul(rows, W_enc, false, true), b_enc);
      const acts = tf.relu(z) as tf.Tensor2D;
      const output = restoreRows(tf.add(tf.matMul(acts, W_dec), b_dec), normalized);
      const mse = squaredErrorLoss(output, y, normalized.scale);

      const norms = rowNorms(W_dec);
      const penalty = this.penalty(acts, norms, coefficient);
      const fromOutput = tf.matMul(mse.gradient, W_dec, false, true);
      const gz = tf.mul(tf.add(fromOutput, penalty.acts), maskOf(z)) as tf.Tensor2D;
      const fromNorms = tf.mul(W_dec, tf.expandDims(tf.divNoNan(penalty.norms, norms), 1));
      const db_enc = columnSums(gz);
      const gradients = {
        W_enc: tf.matMul(gz, rows, true, false),
        b_enc: db_enc,
        W_dec: tf.add(tf.matMul(acts, mse.gradient, true, false), fromNorms),
        b_dec: inputBiasGradient(mse.gradient, db_enc, W_enc, this.cfg.apply_b_dec_to_input),
      };
      const losses = { mse_loss: mse.loss, l1_loss: penalty.loss };
      return { losses, gradients, squaredError: mse.total, fired: tf.sum(maskOf(z), 0) };
    });
  }

  /** λ mean_b ||a ∘ n||_p with its gradients to a [rows, d_sae] and n [d_sae]. */
  private penalty(acts: tf.Tensor2D, norms: tf.Tensor1D, warmUp: number) {
    const { l1_coefficient, lp_norm: p } = this.settings;
    const weight = (l1_coefficient * warmUp) / acts.shape[0];
    const weighted = tf.mul(acts, norms) as tf.Tensor2D;
    const perRow = p === 1 ? tf.sum(weighted, 1) : tf.pow(tf.sum(tf.pow(weighted, p), 1), 1 / p);
    // d ||w||_p / dw = (w / ||w||_p)^(p-1); at p = 1 it is 1 wherever the latent is on, which the caller's mask says.
    const slope =
      p === 1 ? tf.onesLike(weighted) : tf.pow(tf.divNoNan(weighted, tf.expandDims(perRow, 1)), p - 1);
    const scaled = tf.mul(slope, weight);
    return {
      loss: tf.mul(tf.sum(perRow), weight) as tf.Scalar,
      acts: tf.mul(scaled, norms),
      norms: tf.sum(tf.mul(scaled, acts), 0) as tf.Tensor1D,
    };
  }
}

export const standard: Architecture = {
  name: 'standard',
  about: 'relu latents with a sparsity penalty (L1) weighted by decoder norms',
  schema: coderConfig,
  shapes: {
    W_enc: ['d_in', 'd_sae'],
    b_enc: ['d_sae'],
    W_dec: ['d_sae', 'd_out'],
    b_dec: ['d_out'],
  },
  preActivationUnits: ['b_enc'],
  create: (cfg, weights) => new StandardCoder(cfg, weights),
  training: {
    settings: trainingSettings,
    /** SAELens's: the small decoder of Anthropic's April update. */
    decoder_init_norm: 0.1,
    create: (cfg: CoderConfig, settings, parameters) =>
      new StandardTrainingCoder(cfg, trainingSettings.parse(settings), parameters),
  },
};
