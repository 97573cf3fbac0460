/** @file The activations that a run collected: a map by TransformerLens name, with its shorthand. */
import { nearest, UnfoldError } from '../errors.ts';
import type * as tf from '../tensor/tf.ts';
import { actName } from './act-name.ts';

/**
 * Activations in firing order. The tensors belong to the caller (or to the `tf.tidy` around the call):
 * {@link dispose} them.
 */
export class ActivationCache extends Map<string, tf.Tensor> {
  /**
   * The activation by full name or shorthand: `at('resid_pre', 2)`, `at('pattern', 0)`, `at('scale', 3, 'ln1')`.
   * @throws UnfoldError `unknown-hook` if it was not collected.
   */
  at(name: string, layer?: number, layerType?: string): tf.Tensor {
    const full = actName(name, layer, layerType);
    const found = this.get(full);
    if (found) return found;
    throw new UnfoldError('unknown-hook', {
      where: full,
      expected: 'an activation that this run collected',
      found: `${this.size} others`,
      todo: `nearest names: ${nearest(full, this.keys()).join(', ') || 'none'}; widen namesFilter`,
    });
  }

  /** Frees all tensors. */
  dispose(): void {
    for (const tensor of this.values()) tensor.dispose();
    this.clear();
  }
}
