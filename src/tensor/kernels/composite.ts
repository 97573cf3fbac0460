/**
 * @file How an op of ours runs: through tfjs's own engine, under its kernel name. A backend that has something better
 * registers it (`backends/native-coder.ts`); on every other backend the composite in plain tfjs ops is registered the
 * first time it is needed. One way in for both means one gradient (tfjs's registry is by kernel name), lazily computed
 * per input, and the engine's own tracking of tensors.
 */
import * as tf from '../tf.ts';

/** Tensors by name, in and out of a composite. */
export type NamedTensors = Record<string, tf.Tensor>;

/** A kernel written in plain tfjs ops: the judge of the others, and what backends without kernels of ours run. */
export type Composite<Attrs> = (inputs: NamedTensors, attrs: Attrs) => tf.Tensor[];

/** Runs kernel `name` of the current backend, or the composite where the backend has none. */
export function runOp<Attrs extends object>(
  name: string,
  inputs: NamedTensors,
  attrs: Attrs,
  composite: Composite<Attrs>,
): tf.Tensor[] {
  const backendName = tf.getBackend();
  if (!tf.getKernel(name, backendName)) {
    tf.registerKernel({
      kernelName: name,
      backendName,
      kernelFunc: (call) =>
        tf.tidy(() => composite(call.inputs as NamedTensors, call.attrs as unknown as Attrs)),
    });
  }
  const out: tf.Tensor | tf.Tensor[] = tf
    .engine()
    .runKernel(name, inputs, attrs as unknown as tf.NamedAttrMap);
  return Array.isArray(out) ? out : [out];
}

/** Backends whose kernels write into the buffers of variables. */
export const inPlaceBackends: ReadonlySet<string> = new Set(['native']);

/** Rows a composite may take at a time so that its gathered [rows, k, d] stays under 256 MB. */
export function chunkRows(k: number, d: number): number {
  return Math.max(1, Math.floor(2 ** 26 / Math.max(1, k * d)));
}

/** Calls `part` on consecutive ranges of at most `size` rows. */
export function chunks(rows: number, size: number): { start: number; count: number }[] {
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => ({
    start: i * size,
    count: Math.min(size, rows - i * size),
  }));
}
