/**
 * @file How an op of tfjs gets a C++ kernel: a function that returns its output, or undefined where the arguments are
 * not what it is good at; then tfjs's own CPU kernel runs.
 */
import * as tf from '../tf.ts';
import { asNative, type NativeBackend } from './native-backend.ts';

/** The arguments of one kernel call. `T` is the kernel's attributes as tfjs documents them. */
export interface KernelCall<T = Record<string, unknown>> {
  inputs: Record<string, tf.TensorInfo>;
  attrs: T;
  backend: NativeBackend;
}

export type FastKernel<T = Record<string, unknown>> = (
  call: KernelCall<T>,
) => tf.TensorInfo | tf.TensorInfo[] | undefined;

/** Fast kernels by tfjs's kernel names. */
export type KernelTable = Record<string, FastKernel<never>>;

/** The kernel function for tfjs: fast where it can be, else plain. */
export function withFallback(fast: FastKernel<never>, plain?: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const backend = asNative(call.backend);
    const inputs = call.inputs as Record<string, tf.TensorInfo>;
    const done = fast({ inputs, attrs: (call.attrs ?? {}) as never, backend });
    if (done) return done;
    if (!plain)
      throw new Error('internal: a kernel of backend native declined arguments that nothing else takes');
    return plain(call);
  };
}

/** Row-major strides. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}

/** Dimensions with one list of strides per input. */
export interface Strided {
  dims: Int32Array;
  strides: Int32Array[];
}

/** Most dimensions that the C++ loops take. */
const MOST = 6;

/**
 * Leaves out dimensions of size 1 and merges neighbours that every input walks through in one stride.
 * @returns undefined where too many dimensions are left
 */
export function collapse(shape: readonly number[], strides: readonly number[][]): Strided | undefined {
  const dims: number[] = [];
  const steps: number[][] = strides.map(() => []);
  shape.forEach((size, i) => {
    if (size === 1) return;
    const last = dims.length - 1;
    const merges = last >= 0 && strides.every((s, j) => steps[j]![last] === s[i]! * size);
    if (merges) {
      dims[last] = dims[last]! * size;
      steps.forEach((s, j) => {
        s[last] = strides[j]![i]!;
      });
    } else {
      dims.push(size);
      for (const [j, s] of steps.entries()) s.push(strides[j]![i]!);
    }
  });
  if (dims.length === 0) {
    dims.push(1);
    for (const s of steps) s.push(1);
  }
  if (dims.length > MOST) return undefined;
  return { dims: Int32Array.from(dims), strides: steps.map((s) => Int32Array.from(s)) };
}

/** The strides of `shape` when it is broadcast to `out`: 0 where it repeats. */
export function broadcastStrides(shape: readonly number[], out: readonly number[]): number[] {
  const own = stridesOf(shape);
  const skip = out.length - shape.length;
  return out.map((_, i) => (i < skip || shape[i - skip] === 1 ? 0 : own[i - skip]!));
}

/** True if every tensor is float32. */
export function allFloat(...tensors: (tf.TensorInfo | undefined)[]): boolean {
  return tensors.every((tensor) => tensor === undefined || tensor.dtype === 'float32');
}

export { sizeOf } from './native-backend.ts';
export { tf };
