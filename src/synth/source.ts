/**
 * @file A synthetic model as a source of activation rows: blocks are made when they are read, from the seed and their
 * number alone, so that a run can stop, resume and be repeated as on shards; nothing is stored.
 */
import { breathe, type StageContext, silent } from '../context.ts';
import { hashOf } from '../files.ts';
import type { ActivationBlock, BlockSource, HookWidth } from '../shards/block-source.ts';
import { sparseDecode } from '../tensor/kernels/sparse-decode.ts';
import * as tf from '../tensor/tf.ts';
import type { SyntheticModelConfig } from './config.ts';
import { type FeatureDictionary, featureDictionary } from './dictionary.ts';
import { type FeatureActivations, FeatureSampler } from './sampler.ts';

/** Name under which the rows are found. */
export const SYNTHETIC_HOOK = 'synthetic';
const BLOCK_ROWS = 4096;

/** Known features, and rows made of them. */
export class SyntheticModel {
  readonly config: SyntheticModelConfig;
  readonly sampler: FeatureSampler;
  /** [num_features, hidden_dim], rows of norm 1. */
  readonly directions: tf.Tensor2D;
  /** [hidden_dim]. */
  readonly bias: tf.Tensor1D;

  /** @param context where the steps of a large model's orthogonalisation are reported, and what stops them */
  static async create(
    config: SyntheticModelConfig,
    context: StageContext = silent(),
  ): Promise<SyntheticModel> {
    const bar = context.bar('push features apart', config.orthogonalization?.num_steps ?? 0, 'steps');
    const dictionary = await featureDictionary(config, async (done) => {
      bar.update(done);
      await breathe(context);
    });
    bar.finish();
    return new SyntheticModel(config, dictionary);
  }

  private constructor(config: SyntheticModelConfig, { directions, bias }: FeatureDictionary) {
    this.config = config;
    this.sampler = new FeatureSampler(config);
    this.directions = tf.keep(directions);
    this.bias = tf.keep(bias);
  }

  /** Rows [rows, hidden_dim] of given activations: Σ values · directions + bias. */
  rowsOf({ features, values, rowStart }: FeatureActivations): tf.Tensor2D {
    return tf.tidy(() =>
      sparseDecode(
        tf.tensor1d(values) as unknown as tf.Tensor2D,
        tf.tensor1d(features, 'int32') as unknown as tf.Tensor2D,
        this.directions,
        this.bias,
        tf.tensor1d(rowStart, 'int32'),
      ),
    );
  }

  dispose(): void {
    tf.dispose([this.directions, this.bias]);
  }
}

/** `rows` training rows of a synthetic model (rounded up to whole blocks). */
export function syntheticSource(model: SyntheticModel, rows: number): BlockSource {
  const hooks: HookWidth[] = [{ name: SYNTHETIC_HOOK, width: model.config.hidden_dim }];
  const blockRows = new Array<number>(Math.ceil(rows / BLOCK_ROWS)).fill(BLOCK_ROWS);
  return {
    hooks,
    blockRows,
    contentHash: hashOf({ synthetic: model.config, rows: blockRows.length * BLOCK_ROWS }),
    async readBlock(index: number): Promise<ActivationBlock> {
      const made = model.rowsOf(model.sampler.sample(BLOCK_ROWS, 'train', index));
      const values = (await made.data()) as Float32Array;
      made.dispose();
      return {
        rows: BLOCK_ROWS,
        activations: new Map([[SYNTHETIC_HOOK, values]]),
        tokenId: new Int32Array(BLOCK_ROWS),
        seqId: new Uint32Array(BLOCK_ROWS).fill(index),
        pos: Uint16Array.from({ length: BLOCK_ROWS }, (_, i) => i),
      };
    },
    async close() {},
  };
}
