/**
 * @file The toy model of superposition (Elhage et al., 2022): features that fire now and then, squeezed into fewer
 * dimensions and read out again, x' = relu(x Wᵀ W + b) with W [hidden, features]. Dense features get a dimension each and
 * the rest are dropped; sparse ones share dimensions at angles that keep interference low. It falls out of the benchmark's
 * generator: the same features, but the directions are learnt.
 */
import { breathe, type StageContext, silent } from '../context.ts';
import { Random } from '../random.ts';
import * as tf from '../tensor/tf.ts';

/** One toy model. */
export interface ToySettings {
  features: number;
  hidden: number;
  /** Probability that a feature fires, the same for all. */
  probability: number;
  /** Importance of feature i is decay^i in the loss. */
  importance_decay: number;
  steps: number;
  batch: number;
  seed: number;
}

/** What was learnt. */
export interface ToyResult extends ToySettings {
  /** Direction of each feature, [features][hidden]. */
  directions: number[][];
  bias: number[];
  loss: number;
  /** ||W||², which counts the features that are represented, over the dimensions they share. */
  features_per_dimension: number;
}

/** Trains one toy model by Adam; a few seconds. The loss is mean_b Σ importance (x' - x)². @throws the signal's reason */
export async function superposition(
  settings: ToySettings,
  context: StageContext = silent(),
): Promise<ToyResult> {
  const { features, hidden, seed, steps, importance_decay } = settings;
  const random = Random.of(seed, 'superposition');
  const draws = Float32Array.from({ length: features * hidden }, () => random.normal() / Math.sqrt(hidden));
  const W = tf.variable(tf.tensor2d(draws, [features, hidden]));
  const b = tf.variable(tf.zeros([features]));
  const importance = tf.tensor1d(Float32Array.from({ length: features }, (_, i) => importance_decay ** i));
  const optimizer = tf.train.adam(1e-3);
  let loss = Number.NaN;
  for (let step = 1; step <= steps; step++) {
    await breathe(context);
    const x = rows(settings, random);
    const cost = optimizer.minimize(
      () => {
        const hiddenRows = tf.matMul(x, W as unknown as tf.Tensor2D);
        const out = tf.relu(tf.add(tf.matMul(hiddenRows, W as unknown as tf.Tensor2D, false, true), b));
        return tf.mean(tf.sum(tf.mul(importance, tf.square(tf.sub(out, x))), 1)) as tf.Scalar;
      },
      step === steps,
      [W, b],
    );
    if (cost) loss = cost.dataSync()[0]!;
    tf.dispose([x, cost ?? []]);
  }
  const directions = W.arraySync() as number[][];
  const bias = Array.from(b.dataSync());
  tf.dispose([W, b, importance]);
  optimizer.dispose();
  const squares = directions.flat().reduce((sum, x) => sum + x * x, 0);
  return { ...settings, directions, bias, loss, features_per_dimension: squares / hidden };
}

/** [batch, features]: uniform in [0, 1) where a feature fires. */
function rows({ features, batch, probability }: ToySettings, random: Random): tf.Tensor2D {
  const values = Float32Array.from({ length: batch * features }, () =>
    random.float() < probability ? random.float() : 0,
  );
  return tf.tensor2d(values, [batch, features]);
}
