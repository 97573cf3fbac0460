/**
 * @file Temporal coders (arXiv 2511.01836; `sae_lens/saes/temporal_sae.py`, since 6.20), to be loaded and run: attention over
 * the positions before predicts codes, and what is left over is coded sparsely. `encode` gives these novel codes, `decode`
 * decodes them alone, `forward` adds the prediction. A row means nothing without its context, so inputs are whole
 * contexts, [..., positions, d_in]. No system trains them yet outside their authors' code; neither does this one.
 */

import { z } from 'zod';
import { UnfoldError } from '../errors.ts';
import { encodeTopK } from '../tensor/kernels/encode-topk.ts';
import * as tf from '../tensor/tf.ts';
import type { Architecture } from './architecture.ts';
import { Coder, type Weights } from './base.ts';
import { checkedConfig } from './checked-config.ts';
import { SparseCode } from './code.ts';
import { type CoderConfig, coderConfig, type Normalization } from './config.ts';
import { normalizeRows, type RowStatistics, restoreRows } from './rows.ts';
import { attend, attentionShapes } from './temporal-attention.ts';

const count = z.int().positive();
const schema = coderConfig.extend({
  /** SAELens's, and one more: every row times `activation_normalization_factor`, undone after. */
  normalize_activations: z
    .enum([
      'none',
      'expected_average_only_in',
      'constant_norm_rescale',
      'layer_norm',
      'constant_scalar_rescale',
    ])
    .default('none'),
  activation_normalization_factor: z.number().positive().default(1),
  n_heads: count.default(8),
  n_attn_layers: count.default(1),
  /** Keys and queries are this much narrower than codes. */
  bottleneck_factor: count.default(64),
  /** What novel codes are: all positive ones, or the `kval_topk` largest of them. */
  sae_diff_type: z.enum(['relu', 'topk']).default('topk'),
  kval_topk: count.nullish(),
  /** The encoder is the decoder's transpose. */
  tied_weights: z.boolean().default(true),
});
type TemporalConfig = z.infer<typeof schema>;

/** SAELens's guard against predictions of norm 0. */
const EPS = 1e-6;

/** The codes of contexts [contexts, positions, d_in]. */
interface Codes {
  /** [contexts, positions, d_sae]. */
  novel: tf.Tensor3D;
  predicted: tf.Tensor3D;
  statistics: RowStatistics;
}

/** Inference. */
export class TemporalCoder extends Coder {
  readonly #own: TemporalConfig;

  constructor(cfg: CoderConfig, weights: Weights) {
    super(cfg, weights);
    this.#own = checkedConfig(schema, cfg);
  }

  override get takesContexts(): boolean {
    return true;
  }

  /** The novel codes. @param x [..., positions, d_in] @returns [..., positions, d_sae] */
  override encode(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => tf.reshape(this.#codes(x).novel, [...x.shape.slice(0, -1), this.cfg.d_sae]));
  }

  /** The codes that attention predicts. @param x [..., positions, d_in] @returns [..., positions, d_sae] */
  predict(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => tf.reshape(this.#codes(x).predicted, [...x.shape.slice(0, -1), this.cfg.d_sae]));
  }

  /** What codes decode to; of `encode`'s this is the novel part alone. `input`: the rows, where they were normalised. */
  override decode(acts: tf.Tensor, input?: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const rows = input && (tf.reshape(input, [-1, this.cfg.d_in]) as tf.Tensor2D);
      const statistics = rows ? this.#normalized(rows) : this.#constantScale();
      return this.#decoded(acts, statistics);
    });
  }

  /** Novel and predicted codes together. */
  override forward(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const { novel, predicted, statistics } = this.#codes(x);
      return tf.reshape(this.#decoded(tf.add(novel, predicted), statistics), x.shape);
    });
  }

  /** Rows without their context: there is no such thing here. */
  protected activate(rows: tf.Tensor2D): tf.Tensor2D {
    return this.encode(rows) as tf.Tensor2D;
  }

  #codes(x: tf.Tensor): Codes {
    const { d_in, d_sae } = this.cfg;
    if (x.rank < 3 || x.shape.at(-1) !== d_in) throw notContexts(x.shape, d_in);
    const positions = x.shape.at(-2)!;
    const { rows, ...statistics } = this.#normalized(tf.reshape(x, [-1, d_in]) as tf.Tensor2D);
    const { W_dec, b_dec } = this.weights as Record<string, tf.Tensor2D>;
    const W_enc = (this.#own.tied_weights ? W_dec : this.weights.W_enc) as tf.Tensor2D;
    const inContexts = (codes: tf.Tensor): tf.Tensor3D => tf.reshape(codes, [-1, positions, d_sae]);
    const scaled = (rest: tf.Tensor2D): tf.Tensor2D => tf.mul(rest, 1 / (4 * d_in));
    let left = (this.cfg.apply_b_dec_to_input ? tf.sub(rows, b_dec!) : rows) as tf.Tensor2D;
    let predicted = tf.zeros([rows.shape[0], d_sae]) as tf.Tensor2D;
    for (let layer = 0; layer < this.#own.n_attn_layers; layer++) {
      const codes = inContexts(tf.relu(tf.matMul(scaled(left), W_enc, false, true)));
      const before = tf.pad(tf.slice(codes, 0, [-1, positions - 1, -1]), [
        [0, 0],
        [1, 0],
        [0, 0],
      ]) as tf.Tensor3D;
      const attended = attend(before, codes, this.weights, layer, this.#own);
      const prediction = tf.relu(tf.reshape(attended, [-1, d_sae])) as tf.Tensor2D;
      const direction = tf.matMul(prediction, W_dec!);
      const length = tf.add(tf.norm(direction, 'euclidean', 1, true), EPS);
      // How much of the prediction is in the row: its projection.
      const share = tf.div(tf.sum(tf.mul(direction, left), 1, true), tf.square(length));
      predicted = tf.add(predicted, tf.mul(prediction, share));
      left = tf.sub(left, tf.mul(direction, share));
    }
    const novel = this.#novel(scaled(left), W_enc);
    return { novel: inContexts(novel), predicted: inContexts(predicted), statistics };
  }

  #novel(rows: tf.Tensor2D, W_enc: tf.Tensor2D): tf.Tensor2D {
    const { sae_diff_type, kval_topk } = this.#own;
    if (sae_diff_type === 'relu' || !kval_topk)
      return tf.relu(tf.matMul(rows, W_enc, false, true)) as tf.Tensor2D;
    const { values, indices } = encodeTopK(rows, W_enc, tf.zeros([W_enc.shape[0]]), kval_topk);
    return new SparseCode(W_enc.shape[0], values, indices).dense();
  }

  #decoded(acts: tf.Tensor, statistics: RowStatistics): tf.Tensor {
    const { tied_weights, apply_b_dec_to_input, d_in } = this.#own;
    const flat = tf.reshape(acts, [-1, this.cfg.d_sae]) as tf.Tensor2D;
    const plain: tf.Tensor2D = tf.matMul(flat, this.weight('W_dec'));
    const rows = !tied_weights || apply_b_dec_to_input ? tf.add(plain, this.weight('b_dec')) : plain;
    return tf.reshape(restoreRows(rows as tf.Tensor2D, statistics), [...acts.shape.slice(0, -1), d_in]);
  }

  #normalized(rows: tf.Tensor2D): RowStatistics & { rows: tf.Tensor2D } {
    const { normalize_activations: kind, activation_normalization_factor: factor } = this.#own;
    if (kind !== 'constant_scalar_rescale') return normalizeRows(rows, kind);
    return { rows: tf.mul(rows, factor), ...this.#constantScale() };
  }

  #constantScale(): RowStatistics {
    const { normalize_activations: kind, activation_normalization_factor: factor } = this.#own;
    return kind === 'constant_scalar_rescale' ? { scale: tf.tensor2d([[1 / factor]]) } : {};
  }
}

function notContexts(shape: number[], d_in: number): UnfoldError {
  return new UnfoldError('bad-rows', {
    where: 'input of the temporal coder',
    expected: `whole contexts, [contexts, positions, d_in = ${d_in}]: its codes depend on the positions before`,
    found: `a tensor of shape [${shape.join(', ')}]`,
    todo: 'give it the rows of each context in order; rows that were shuffled or stored one by one cannot be coded',
  });
}

const CANNOT_FOLD = 'codes that depend on earlier positions through weights that share the decoder';

export const temporal: Architecture = {
  name: 'temporal',
  about: 'what attention over earlier positions does not predict, coded sparsely (load and run only)',
  // The configuration has one normalisation more than others; the coder itself is the only one that reads it.
  schema: schema as unknown as z.ZodType<CoderConfig>,
  shapes: { W_dec: ['d_sae', 'd_in'], b_dec: ['d_in'] },
  tensors: (cfg) => {
    const own = checkedConfig(schema, {
      ...cfg,
      normalize_activations: cfg.normalize_activations as Normalization,
    });
    const layers = Array.from({ length: own.n_attn_layers }, (_, layer) => attentionShapes(layer, own));
    return Object.assign(
      { W_dec: [own.d_sae, own.d_in], b_dec: [own.d_in] },
      own.tied_weights ? {} : { W_enc: [own.d_in, own.d_sae] },
      ...layers,
    );
  },
  preActivationUnits: [],
  cannotFoldNorms: () => CANNOT_FOLD,
  cannotFoldWhitening: () => CANNOT_FOLD,
  foldScales: () => {
    throw new UnfoldError('cannot-fold', {
      where: 'an activation scale of a temporal coder',
      expected: 'a coder whose encoder can be scaled alone',
      found: CANNOT_FOLD,
      todo: 'scale the rows instead; normalize_activations: constant_scalar_rescale does it inside the coder',
    });
  },
  create: (cfg, weights) => new TemporalCoder(cfg, weights),
};
