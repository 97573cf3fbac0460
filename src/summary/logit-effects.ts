/**
 * @file Which tokens a latent promotes: its decoder row through the final layer norm's gain and the unembedding, centred
 * over the vocabulary (what `W_dec @ W_U` is on TransformerLens's processed weights, the way Neuronpedia shows it). The
 * direct path alone: what later layers do with the latent is left out.
 */
import * as tf from '../tensor/tf.ts';

/** The weights behind the last residual stream. */
export interface Unembedding {
  /** [d_vocab, d_model], as GPT2.weights holds it. */
  W_U: tf.Tensor2D;
  /** Gain of the final layer norm, [d_model]; 1 if absent (folded). */
  w?: tf.Tensor1D;
}

/** What a latent does to the logits, directly. */
export interface LogitEffect {
  latent: number;
  /** Most promoted tokens, strongest first. */
  promoted: { token: number; effect: number }[];
  /** Kurtosis of the effects over the vocabulary: 3 for a normal distribution, large when a few tokens stand out. */
  kurtosis: number;
}

/** Effects of `latents`, in chunks that keep the [chunk, d_vocab] matrix below 64 MB. */
export function logitEffects(
  W_dec: tf.Tensor2D,
  latents: readonly number[],
  { W_U, w }: Unembedding,
  count: number,
): LogitEffect[] {
  const d_vocab = W_U.shape[0];
  const chunk = Math.max(1, Math.floor(2 ** 24 / d_vocab));
  const chunks = Array.from({ length: Math.ceil(latents.length / chunk) }, (_, i) =>
    latents.slice(i * chunk, (i + 1) * chunk),
  );
  return chunks.flatMap((some) => {
    const effects = tf.tidy(() => {
      const rows = tf.gather(W_dec, tf.tensor1d(some, 'int32'));
      const centred = tf.sub(rows, tf.mean(rows, 1, true));
      return tf.matMul(w ? tf.mul(centred, w) : centred, W_U, false, true).dataSync() as Float32Array;
    });
    return some.map((latent, i) => effectOf(latent, effects.subarray(i * d_vocab, (i + 1) * d_vocab), count));
  });
}

function effectOf(latent: number, effects: Float32Array, count: number): LogitEffect {
  const n = effects.length;
  let mean = 0;
  for (const effect of effects) mean += effect / n;
  let [second, fourth] = [0, 0];
  for (const effect of effects) {
    const square = (effect - mean) ** 2;
    second += square / n;
    fourth += (square * square) / n;
  }
  const promoted = largest(effects, count).map((token) => ({ token, effect: effects[token]! - mean }));
  return { latent, promoted, kurtosis: second === 0 ? 0 : fourth / (second * second) };
}

/** Indices of the `count` largest values, largest first. */
function largest(values: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === count && values[i]! <= values[best[count - 1]!]!) continue;
    const at = best.findIndex((other) => values[other]! < values[i]!);
    best.splice(at < 0 ? best.length : at, 0, i);
    best.length = Math.min(best.length, count);
  }
  return best;
}
