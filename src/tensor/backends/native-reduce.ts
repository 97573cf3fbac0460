/**
 * @file Reductions, softmax, argmax and TopK on backend `native`. Axes that lie side by side are reduced where they are;
 * others are brought together by a transposition first.
 */
import { allFloat, type FastKernel, type KernelCall, type KernelTable, sizeOf, tf } from './native-kernel.ts';
import { transposed } from './native-layout.ts';

interface AxisAttrs {
  axis?: number | number[];
  reductionIndices?: number | number[];
  keepDims?: boolean;
}

/** A tensor seen as [outer, n, inner], n of which goes. */
interface Plan {
  outer: number;
  n: number;
  inner: number;
}

function contiguous(axes: readonly number[]): boolean {
  return axes.every((axis, i) => i === 0 || axis === axes[i - 1]! + 1);
}

function planOf(shape: readonly number[], axes: readonly number[]): Plan {
  const [first, last] = [axes[0]!, axes.at(-1)!];
  return {
    outer: sizeOf(shape.slice(0, first)),
    n: sizeOf(shape.slice(first, last + 1)),
    inner: sizeOf(shape.slice(last + 1)),
  };
}

/** Numbers as in reduce.cc. */
const [SUM, MEAN, MAX, MIN] = [0, 1, 2, 3] as const;

function reduction(op: number): FastKernel<AxisAttrs> {
  return ({ inputs, attrs, backend }: KernelCall<AxisAttrs>) => {
    const x = inputs.x!;
    if (!allFloat(x)) return undefined;
    const axes = tf.util.parseAxisParam(attrs.axis ?? attrs.reductionIndices!, x.shape).sort((a, b) => a - b);
    if (axes.length === 0) return backend.alias(x, x.shape);
    const [outShape] = tf.backend_util.computeOutAndReduceShapes(x.shape, axes);
    const shape = attrs.keepDims ? tf.backend_util.expandShapeToKeepDim(outShape, axes) : outShape;
    const { info, array } = backend.makeOutputPooled(shape, 'float32');
    if (contiguous(axes)) {
      const { outer, n, inner } = planOf(x.shape, axes);
      backend.addon.reduce(op, backend.f32(x), array, outer, n, inner);
      return info;
    }
    const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
    const moved = transposed(backend, x, [...kept, ...axes]);
    if (!moved) return undefined;
    const n = sizeOf(axes.map((axis) => x.shape[axis]!));
    backend.addon.reduce(op, backend.f32(moved), array, array.length, n, 1);
    backend.disposeIntermediateTensorInfo(moved);
    return info;
  };
}

/** Over the last axis only; tfjs brings others there itself. */
function argExtreme(sign: 1 | -1): FastKernel<{ axis: number | number[] }> {
  return ({ inputs, attrs, backend }) => {
    const x = inputs.x!;
    const axes = tf.util.parseAxisParam(attrs.axis, x.shape);
    const n = x.shape.at(-1) ?? 0;
    if (!allFloat(x) || axes.length !== 1 || axes[0] !== x.shape.length - 1 || n === 0) return undefined;
    const { info, array } = backend.makeOutputPooled(x.shape.slice(0, -1), 'int32');
    backend.addon.argExtreme(backend.f32(x), array, array.length, n, sign);
    return info;
  };
}

const softmax: FastKernel<{ dim: number }> = ({ inputs, attrs, backend }) => {
  const x = inputs.logits!;
  const rank = x.shape.length;
  if (!allFloat(x) || rank === 0 || (attrs.dim !== -1 && attrs.dim !== rank - 1)) return undefined;
  const { info, array } = backend.makeOutputPooled(x.shape, 'float32');
  const n = x.shape.at(-1)!;
  if (array.length > 0) backend.addon.softmax(backend.f32(x), array, array.length / n, n);
  return info;
};

const topK: FastKernel<{ k: number; sorted: boolean }> = ({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const n = x.shape.at(-1) ?? 0;
  if (!allFloat(x) || n === 0) return undefined;
  const { k } = attrs;
  const shape = [...x.shape.slice(0, -1), k];
  const values = backend.makeOutputPooled(shape, 'float32');
  const indices = backend.makeOutputPooled(shape, 'int32');
  backend.addon.topK(backend.f32(x), values.array, indices.array, sizeOf(x.shape) / n, n, k);
  return [values.info, indices.info];
};

/** The reductions by tfjs's kernel names. */
export const reduceKernels: KernelTable = {
  Sum: reduction(SUM),
  Mean: reduction(MEAN),
  Max: reduction(MAX),
  Min: reduction(MIN),
  ArgMax: argExtreme(1),
  ArgMin: argExtreme(-1),
  Softmax: softmax,
  TopK: topK,
};
