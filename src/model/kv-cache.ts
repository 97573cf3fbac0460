/**
 * @file Keys and values of the tokens so far, one pair per layer, so that generation computes each token once.
 */
import * as tf from '../tensor/tf.ts';

/** Grows by every forward pass that is given it. Owns its tensors: {@link dispose} it. */
export class KeyValueCache {
  #length = 0;
  readonly #layers: { k: tf.Tensor4D; v: tf.Tensor4D }[] = [];

  /** Tokens so far. */
  get length(): number {
    return this.#length;
  }

  /** Adds new keys and values [batch, pos, head, d_head] of a layer; gives all of them. */
  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D): { k: tf.Tensor4D; v: tf.Tensor4D } {
    const before = this.#layers[layer];
    const joined = before
      ? { k: tf.keep(tf.concat([before.k, k], 1)), v: tf.keep(tf.concat([before.v, v], 1)) }
      : { k: tf.keep(tf.clone(k)), v: tf.keep(tf.clone(v)) };
    if (before) tf.dispose([before.k, before.v]);
    this.#layers[layer] = joined;
    return joined;
  }

  /** Called once a pass over `tokens` new tokens is complete. */
  advance(tokens: number): void {
    this.#length += tokens;
  }

  dispose(): void {
    for (const { k, v } of this.#layers) tf.dispose([k, v]);
    this.#layers.length = 0;
    this.#length = 0;
  }
}
