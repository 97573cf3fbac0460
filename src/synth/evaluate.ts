/**
 * @file A coder against the features that its training rows were made of, on rows that were not trained on.
 */
import type { Coder } from '../coders/coder.ts';
import { breathe, type StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { ReconstructionAccumulator } from '../evaluate/reconstruction.ts';
import * as tf from '../tensor/tf.ts';
import { bestMatches, DetectionCounter, meanCorrelation, similarity, uniqueness } from './recovery.ts';
import type { SyntheticModel } from './source.ts';

const BATCH_ROWS = 4096;

/** What a coder is worth on a synthetic model; `definitions` of the same names say what each number is. */
export interface SyntheticEvaluation {
  f1: number;
  precision: number;
  recall: number;
  mcc: number;
  uniqueness: number;
  explained_variance: number;
  l0: number;
  true_l0: number;
  dead_latents: number;
  shrinkage: number;
  samples: number;
}

/** What the numbers mean. */
export const definitions: Readonly<Record<keyof SyntheticEvaluation, string>> = {
  f1: 'mean over latents of the F1 score as a detector of the feature whose direction is most like the decoder row (|cos|)',
  precision: 'mean over latents: of the rows in which the latent is on, the share in which its feature is',
  recall: 'mean over latents: of the rows in which its feature is on, the share in which the latent is',
  mcc: 'mean |cos| of decoder rows and directions under the best one-to-one matching (Hungarian)',
  uniqueness: 'distinct best-matching features / latents',
  explained_variance: '1 - Σ ||x - x̂||² / Σ ||x - mean||², over all rows together',
  l0: 'latents that are not 0, a row',
  true_l0: 'features that fire, a row',
  dead_latents: 'latents that were 0 in every row',
  shrinkage: 'mean of ||x̂|| / ||x||',
  samples: 'rows evaluated',
};

/**
 * Evaluates a coder on `samples` fresh rows.
 * @throws UnfoldError `bad-rows` if its width is not that of the model
 */
export async function evaluateOnFeatures(
  coder: Coder,
  model: SyntheticModel,
  samples: number,
  context: StageContext,
): Promise<SyntheticEvaluation> {
  const { hidden_dim, num_features } = model.config;
  if (coder.cfg.d_in !== hidden_dim) throw wrongWidth(coder.cfg.d_in, hidden_dim);
  const alike = await similarity(decoderOf(coder), model.directions);
  const matches = bestMatches(alike);
  const detection = new DetectionCounter(matches, num_features);
  const reconstruction = new ReconstructionAccumulator(hidden_dim);
  const active = { coder: 0, truth: 0 };
  for (let block = 0, from = 0; from < samples; block++, from += BATCH_ROWS) {
    await breathe(context);
    const truth = model.sampler.sample(Math.min(BATCH_ROWS, samples - from), 'evaluate', block);
    const { x, acts, output } = await run(coder, model, truth);
    detection.add(acts, truth);
    reconstruction.add(x, output, truth.rows);
    for (const value of acts) if (value !== 0) active.coder++;
    active.truth += truth.values.length;
  }
  const { explained_variance, l2_ratio } = reconstruction.result();
  return {
    ...detection.result(),
    mcc: meanCorrelation(alike),
    uniqueness: uniqueness(matches),
    explained_variance: explained_variance!,
    l0: active.coder / samples,
    true_l0: active.truth / samples,
    dead_latents: matches.length - detection.alive,
    shrinkage: l2_ratio!,
    samples,
  };
}

function decoderOf({ weights }: Coder): tf.Tensor2D {
  return weights.W_dec as tf.Tensor2D;
}

async function run(coder: Coder, model: SyntheticModel, truth: Parameters<SyntheticModel['rowsOf']>[0]) {
  const x = model.rowsOf(truth);
  const acts = coder.encode(x);
  const output = coder.forward(x);
  const [rows, activations, reconstructed] = (await Promise.all([x.data(), acts.data(), output.data()])) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  tf.dispose([x, acts, output]);
  return { x: rows, acts: activations, output: reconstructed };
}

function wrongWidth(found: number, expected: number): UnfoldError {
  return new UnfoldError('bad-rows', {
    where: 'a coder on a synthetic model',
    expected: `d_in = ${expected}, the hidden_dim of the model`,
    found: `d_in = ${found}`,
    todo: 'evaluate it on the synthetic model that it was trained on',
  });
}
