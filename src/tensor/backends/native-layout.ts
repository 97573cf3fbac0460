/**
 * @file Moving elements about on backend `native`: transpose, tile, concat, stack, split, slice, pad, gather and its
 * gradient. A contiguous slice stays a view of its parent's memory, as on the CPU backend.
 */

import type { Movable } from '../native-types.ts';
import type { NativeBackend, NumericType } from './native-backend.ts';
import { sizeOf } from './native-backend.ts';
import { allFloat, collapse, type FastKernel, type KernelTable, stridesOf, tf } from './native-kernel.ts';

function numeric(dtype: tf.DataType): dtype is NumericType {
  return dtype === 'float32' || dtype === 'int32' || dtype === 'bool';
}

/** An output of x's type and its elements; undefined for strings and complex numbers. */
function movable(backend: NativeBackend, x: tf.TensorInfo, shape: number[]) {
  if (!numeric(x.dtype)) return undefined;
  const { info, array } = backend.makeOutputPooled(shape, x.dtype);
  return { info, to: array as Movable, from: backend.read_(x, x.dtype) as Movable };
}

/** Copies x, walked through by `strides` in the order of `shape`. */
function stridedCopy(
  backend: NativeBackend,
  x: tf.TensorInfo,
  shape: number[],
  walk: { shape: number[]; strides: number[]; offset?: number },
): tf.TensorInfo | undefined {
  const strided = collapse(walk.shape, [walk.strides]);
  const out = strided && movable(backend, x, shape);
  if (!out) return undefined;
  const from = walk.offset ? out.from.subarray(walk.offset) : out.from;
  if (out.to.length > 0) backend.addon.copyStrided(from, out.to, strided.dims, strided.strides[0]!);
  return out.info;
}

/** x with its axes in the order of `perm`. */
export function transposed(backend: NativeBackend, x: tf.TensorInfo, perm: readonly number[]) {
  const strides = stridesOf(x.shape);
  const shape = perm.map((axis) => x.shape[axis]!);
  return stridedCopy(backend, x, shape, { shape, strides: perm.map((axis) => strides[axis]!) });
}

const transpose: FastKernel<{ perm: number[] }> = ({ inputs, attrs, backend }) => {
  return transposed(backend, inputs.x!, attrs.perm);
};

const tile: FastKernel<{ reps: number[] }> = ({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const strides = stridesOf(x.shape);
  const shape = x.shape.map((size, i) => size * attrs.reps[i]!);
  const walk = {
    shape: x.shape.flatMap((size, i) => [attrs.reps[i]!, size]),
    strides: x.shape.flatMap((_, i) => [0, strides[i]!]),
  };
  return stridedCopy(backend, x, shape, walk);
};

/** Places tensors side by side along `axis`; all have the same shape elsewhere. */
function joined(
  backend: NativeBackend,
  tensors: readonly tf.TensorInfo[],
  { axis, shape }: { axis: number; shape: number[] },
): tf.TensorInfo | undefined {
  const [first] = tensors;
  if (!first || !numeric(first.dtype) || tensors.some((t) => t.dtype !== first.dtype)) return undefined;
  const { info, array } = backend.makeOutputPooled(shape, first.dtype);
  const outer = sizeOf(shape.slice(0, axis));
  const step = sizeOf(shape.slice(axis));
  let offset = 0;
  for (const tensor of tensors) {
    const run = outer === 0 ? 0 : sizeOf(tensor.shape) / outer;
    const from = backend.read_(tensor, first.dtype) as Movable;
    backend.addon.copyBlocks(from, array as Movable, outer, run, run, 0, step, offset);
    offset += run;
  }
  return info;
}

const concat: FastKernel<{ axis: number }> = ({ inputs, attrs, backend }) => {
  const tensors = Object.values(inputs);
  const axis = tf.util.parseAxisParam(attrs.axis, tensors[0]!.shape)[0]!;
  const shapes = tensors.map((tensor) => tensor.shape);
  tf.backend_util.assertParamsConsistent(shapes, axis);
  return joined(backend, tensors, { axis, shape: tf.backend_util.computeOutShape(shapes, axis) });
};

const pack: FastKernel<{ axis: number }> = ({ inputs, attrs, backend }) => {
  const tensors = Object.values(inputs);
  const { shape } = tensors[0]!;
  const axis = attrs.axis < 0 ? attrs.axis + shape.length + 1 : attrs.axis;
  for (const tensor of tensors) {
    tf.util.assertShapesMatch(shape, tensor.shape, 'All tensors passed to stack must have matching shapes');
  }
  const stacked = [...shape.slice(0, axis), tensors.length, ...shape.slice(axis)];
  return joined(backend, tensors, { axis, shape: stacked });
};

/** A part that is not contiguous; contiguous ones are views, which the CPU kernel makes. */
function part(backend: NativeBackend, x: tf.TensorInfo, begin: number[], size: number[]) {
  if (tf.slice_util.isSliceContinous(x.shape, begin, size)) return undefined;
  const strides = stridesOf(x.shape);
  return stridedCopy(backend, x, size, {
    shape: size,
    strides,
    offset: tf.slice_util.computeFlatOffset(begin, strides),
  });
}

const slice: FastKernel<{ begin: number[]; size: number[] }> = ({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const [begin, size] = tf.slice_util.parseSliceParams(x as tf.Tensor, attrs.begin, attrs.size) as [
    number[],
    number[],
  ];
  tf.slice_util.assertParamsValid(x as tf.Tensor, begin, size);
  return part(backend, x, begin, size);
};

const splitV: FastKernel<{ numOrSizeSplits: number[] | number; axis: number }> = (call) => {
  const { inputs, attrs, backend } = call;
  const x = inputs.x!;
  const axis = tf.util.parseAxisParam(attrs.axis, x.shape)[0]!;
  const sizes = tf.backend_util.prepareSplitSize(x as tf.Tensor, attrs.numOrSizeSplits, axis);
  const outer = sizeOf(x.shape.slice(0, axis));
  if (outer === 1 || !numeric(x.dtype)) return undefined;
  const inner = sizeOf(x.shape.slice(axis + 1));
  const step = x.shape[axis]! * inner;
  let offset = 0;
  return sizes.map((size) => {
    const shape = x.shape.map((n, i) => (i === axis ? size : n));
    const { info, to, from } = movable(backend, x, shape)!;
    backend.addon.copyBlocks(from, to, outer, size * inner, step, offset, size * inner, 0);
    offset += size * inner;
    return info;
  });
};

/** Pads with a constant: fills, then copies x's rows to their place. */
const padV2: FastKernel<{ paddings: [number, number][]; constantValue: number }> = (call) => {
  const { inputs, attrs, backend } = call;
  const x = inputs.x!;
  const padded = attrs.paddings.flatMap(([before, after], axis) => (before || after ? [axis] : []));
  // The gradient of a slice along one axis; more axes are rare.
  if (padded.length !== 1) return undefined;
  const axis = padded[0]!;
  const [before, after] = attrs.paddings[axis]!;
  const shape = x.shape.map((n, i) => (i === axis ? n + before + after : n));
  const out = movable(backend, x, shape);
  if (!out) return undefined;
  out.to.fill(attrs.constantValue);
  const inner = sizeOf(x.shape.slice(axis + 1));
  const run = x.shape[axis]! * inner;
  const outer = sizeOf(x.shape.slice(0, axis));
  backend.addon.copyBlocks(out.from, out.to, outer, run, run, 0, shape[axis]! * inner, before * inner);
  return out.info;
};

const gatherV2: FastKernel<{ axis: number; batchDims?: number }> = ({ inputs, attrs, backend }) => {
  const { x, indices } = inputs as { x: tf.TensorInfo; indices: tf.TensorInfo };
  if (attrs.batchDims || !numeric(x.dtype)) return undefined;
  const axis = tf.util.parseAxisParam(attrs.axis, x.shape)[0]!;
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  const { info, to, from } = movable(backend, x, shape)!;
  const outer = sizeOf(x.shape.slice(0, axis));
  const inner = sizeOf(x.shape.slice(axis + 1));
  try {
    backend.addon.gather(from, backend.i32(indices), to, outer, x.shape[axis]!, inner, sizeOf(indices.shape));
  } catch (error) {
    backend.disposeIntermediateTensorInfo(info);
    throw error;
  }
  return info;
};

/** The gradient of gather: rows added up where their index says. */
const unsortedSegmentSum: FastKernel<{ numSegments: number }> = ({ inputs, attrs, backend }) => {
  const { x, segmentIds } = inputs as { x: tf.TensorInfo; segmentIds: tf.TensorInfo };
  if (!allFloat(x)) return undefined;
  const rows = sizeOf(segmentIds.shape);
  const inner = sizeOf(x.shape.slice(segmentIds.shape.length));
  const shape = [attrs.numSegments, ...x.shape.slice(segmentIds.shape.length)];
  const { info, array } = backend.makeOutputPooled(shape, 'float32');
  backend.addon.segmentSum(backend.f32(x), backend.i32(segmentIds), array, rows, inner, attrs.numSegments);
  return info;
};

/** The layout kernels by tfjs's names. */
export const layoutKernels: KernelTable = {
  Transpose: transpose,
  Tile: tile,
  Concat: concat,
  Pack: pack,
  Slice: slice,
  SplitV: splitV,
  PadV2: padV2,
  GatherV2: gatherV2,
  UnsortedSegmentSum: unsortedSegmentSum,
};
