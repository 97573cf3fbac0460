/** @file Shape checks shared by the coder kernels: a wrong shape is said where it is, not deep inside a product. */
import { UnfoldError } from '../../errors.ts';
import type * as tf from '../tf.ts';

/** Throws `bad-shape` unless `found` is true. */
export function requireShape(ok: boolean, where: string, expected: string, found: string): void {
  if (ok) return;
  throw new UnfoldError('bad-shape', {
    where,
    expected,
    found,
    todo: 'pass tensors whose shapes fit together; the docstring of the op gives them',
  });
}

/** Checks that `tensor` has exactly `shape`; -1 stands for any size. */
export function requireTensor(tensor: tf.Tensor, shape: readonly number[], where: string): void {
  const fits =
    tensor.shape.length === shape.length && shape.every((size, i) => size < 0 || size === tensor.shape[i]);
  requireShape(
    fits,
    where,
    `shape [${shape.map((s) => (s < 0 ? '*' : s)).join(', ')}]`,
    `[${tensor.shape.join(', ')}]`,
  );
}
