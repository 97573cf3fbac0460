/**
 * @file The matching pursuit coder (`sae_lens/saes/matching_pursuit_sae.py`): encoder and decoder are one matrix, and
 * activations come from a pursuit (`pursuit.ts`) instead of a product. Rows decide themselves how many latents they take.
 */

import { z } from 'zod';
import * as tf from '../tensor/tf.ts';
import type { Architecture } from './architecture.ts';
import { Coder } from './base.ts';
import { checkedConfig, checkedSettings } from './checked-config.ts';
import { DenseCode, denseGradient } from './code.ts';
import { coderConfig } from './config.ts';
import { codeOf, type PursuitSettings, pursue, pursuitGradients } from './pursuit.ts';
import { normalizeRows, restoreRows } from './rows.ts';
import {
  applyGradients,
  type Gradient,
  type LossGradients,
  type StepResult,
  type StepSettings,
  type TrainBatch,
  TrainingCoder,
  weightGradient,
} from './training.ts';
import { squaredErrorLoss } from './training-maths.ts';

const schema = coderConfig.extend({
  residual_threshold: z.number().nonnegative().default(1e-2),
  max_iterations: z.int().positive().nullable().default(null),
  stop_on_duplicate_support: z.boolean().default(true),
});
type MatchingPursuitConfig = z.infer<typeof schema>;

/** Inference. b_dec is added to the output only where it is subtracted from the input, as in SAELens. */
export class MatchingPursuitCoder extends Coder<MatchingPursuitConfig> {
  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    const taken = pursue(rows, this.weight('W_dec'), this.cfg);
    return codeOf(taken, this.cfg.d_sae).dense();
  }

  protected override reconstruct(acts: tf.Tensor2D): tf.Tensor2D {
    const sum: tf.Tensor2D = tf.matMul(acts, this.weight('W_dec'));
    return this.cfg.apply_b_dec_to_input ? tf.add(sum, this.weight('b_dec')) : sum;
  }
}

const trainingSettings = z.object({
  /** Norm of the rest below which a row takes no more; in units of the scaled rows. SAELens's default. */
  residual_threshold: z.number().nonnegative().default(1e-2),
  /**
   * Latents a row may take; d_in with null, which is SAELens's default: nearly every row then takes nearly that many, since
   * a threshold low enough to mean anything is not reached.
   */
  max_iterations: z.int().positive().nullable().default(32),
  /** Whether a row is done when it asks for a latent it already has. */
  stop_on_duplicate_support: z.boolean().default(true),
});

type Pass = {
  losses: { mse_loss: tf.Scalar };
  squaredError: tf.Scalar;
  fired: tf.Tensor1D;
  gradients: { W_dec: Gradient; b_dec: tf.Tensor };
};

/** Loss: mean_b ||x̂ - x||². */
class MatchingPursuitTrainingCoder extends TrainingCoder<PursuitSettings> {
  async step(batch: TrainBatch, settings: StepSettings): Promise<StepResult> {
    const pass = tf.tidy(() => this.#pass(batch, false) as unknown as tf.TensorContainer) as unknown as Pass;
    try {
      const result = await applyGradients(this.parameters, pass.gradients, pass, settings);
      return { ...result, fired: await pass.fired.data() };
    } finally {
      tf.dispose(pass as unknown as tf.TensorContainer);
    }
  }

  gradients(batch: TrainBatch): LossGradients {
    return tf.tidy(
      () => this.#pass(batch, true) as unknown as tf.TensorContainer,
    ) as unknown as LossGradients;
  }

  #pass({ x, y = x }: TrainBatch, dense: boolean): Pass {
    const { W_dec, b_dec } = this.values();
    const { apply_b_dec_to_input: isCentred, normalize_activations, d_sae } = this.cfg;
    const normalized = normalizeRows(x, normalize_activations);
    const rows = isCentred ? (tf.sub(normalized.rows, b_dec) as tf.Tensor2D) : normalized.rows;
    const taken = pursue(rows, W_dec, this.settings);
    const sparse = codeOf(taken, d_sae);
    const code = dense ? new DenseCode(sparse.dense()) : sparse;
    const sum = code.decode(W_dec);
    const restored = restoreRows(isCentred ? tf.add(sum, b_dec) : sum, normalized);
    const mse = squaredErrorLoss(restored, y, normalized.scale);
    const rest = tf.sub(rows, sum) as tf.Tensor2D;
    const back = pursuitGradients({ taken, rest, gradient: mse.gradient, W_dec });
    return {
      losses: { mse_loss: mse.loss },
      squaredError: mse.total,
      fired: code.fired(),
      gradients: {
        W_dec: dense ? denseGradient(back.W_dec, W_dec) : weightGradient(back.W_dec, W_dec),
        b_dec: isCentred ? back.bias : tf.zerosLike(b_dec),
      },
    };
  }
}

export const matchingPursuit: Architecture = {
  name: 'matching_pursuit',
  about: 'latents chosen one after the other, each by what the ones before left over',
  schema,
  shapes: { W_dec: ['d_sae', 'd_out'], b_dec: ['d_out'] },
  preActivationUnits: [],
  cannotFoldNorms: () => 'encoder and decoder are one matrix: its norms decide which latents a row takes',
  cannotFoldWhitening: () => 'encoder and decoder are one matrix: whitening cannot be moved into both',
  /** A pursuit of rows k times as large takes the same latents, k times as strongly, if it ends k times as early. */
  foldScales: ({ cfg, weights }, { in: [scale = 1] }) => {
    const parsed = checkedConfig(schema, cfg);
    const { residual_threshold } = parsed;
    return new MatchingPursuitCoder(
      { ...parsed, normalize_activations: 'none', residual_threshold: residual_threshold / scale },
      { W_dec: tf.clone(weights.W_dec!), b_dec: tf.div(weights.b_dec!, scale) },
    );
  },
  create: (cfg, weights) => new MatchingPursuitCoder(checkedConfig(schema, cfg), weights),
  training: {
    settings: trainingSettings,
    coderKeys: ['residual_threshold', 'max_iterations', 'stop_on_duplicate_support'],
    /** Needed: what a latent explains is subtracted in full only if its direction has norm 1. SAELens insists on it, too. */
    decoder_init_norm: 1,
    initial: ({ W_dec, b_dec }) => ({ W_dec: W_dec!, b_dec: b_dec! }),
    create: (cfg, settings, parameters) =>
      new MatchingPursuitTrainingCoder(cfg, checkedSettings(trainingSettings, settings), parameters),
  },
};
