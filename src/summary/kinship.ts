/**
 * @file Are the words on which a latent fires related? Mean cosine of their token embeddings, centred over the vocabulary:
 * the model's own opinion of which words resemble one another (boy, girl, child: 0.6; random words: about 0).
 */
import type * as tf from '../tensor/tf.ts';

/** Mean pairwise cosine of the embeddings of `tokens`, which are distinct; 0 for fewer than two. */
export type Kinship = (tokens: readonly number[]) => number;

/** Reads the embedding [d_vocab, d_model] once. */
export function kinshipIn(W_E: tf.Tensor2D): Kinship {
  const [d_vocab, d_model] = W_E.shape;
  const values = W_E.dataSync() as Float32Array;
  const mean = new Float64Array(d_model);
  for (let at = 0; at < values.length; at++) mean[at % d_model]! += values[at]! / d_vocab;
  const cosine = (a: number, b: number) => {
    let [dot, normA, normB] = [0, 0, 0];
    for (let i = 0; i < d_model; i++) {
      const [x, y] = [values[a * d_model + i]! - mean[i]!, values[b * d_model + i]! - mean[i]!];
      dot += x * y;
      normA += x * x;
      normB += y * y;
    }
    return dot / Math.sqrt(normA * normB || 1);
  };
  return (tokens) => {
    let [sum, pairs] = [0, 0];
    tokens.forEach((a, i) => {
      for (const b of tokens.slice(0, i)) {
        sum += cosine(a, b);
        pairs += 1;
      }
    });
    return pairs === 0 ? 0 : sum / pairs;
  };
}
