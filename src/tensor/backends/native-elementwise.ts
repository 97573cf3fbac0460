/**
 * @file Arithmetic, comparisons, functions of one argument, where, casts and fills on backend `native`. float32 runs in
 * C++ with every broadcast; integers and booleans, rare and small here, run as on the CPU backend.
 */
import {
  allFloat,
  broadcastStrides,
  collapse,
  type FastKernel,
  type KernelCall,
  type KernelTable,
  sizeOf,
  tf,
} from './native-kernel.ts';

/** Numbers as in elementwise.cc. */
const BINARY = {
  Add: 0,
  Sub: 1,
  Multiply: 2,
  RealDiv: 3,
  Maximum: 4,
  Minimum: 5,
  SquaredDifference: 6,
  Pow: 7,
} as const;

const COMPARISONS = { Greater: 0, GreaterEqual: 1, Less: 2, LessEqual: 3, Equal: 4, NotEqual: 5 } as const;

/** tfjs's names; Reciprocal keeps the sign of a zero, as 1/x does. */
const UNARY = {
  Exp: 0,
  Log: 1,
  Sqrt: 2,
  Rsqrt: 3,
  Tanh: 4,
  Sigmoid: 5,
  Relu: 6,
  Erf: 7,
  Neg: 8,
  Square: 9,
  Abs: 10,
  Reciprocal: 11,
} as const;

type Pair = KernelCall<object>;

/** Shape and strides of a broadcast pair; undefined where C++ does not take it. */
function broadcastPair({ inputs }: Pair) {
  const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
  if (!allFloat(a, b)) return undefined;
  const shape = tf.backend_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const strided = collapse(shape, [broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape)]);
  return strided && { a, b, shape, strided };
}

function binary(op: number): FastKernel<never> {
  return (call) => {
    const pair = broadcastPair(call);
    if (!pair) return undefined;
    const { a, b, shape, strided } = pair;
    const { backend } = call;
    const { info, array } = backend.makeOutputPooled(shape, 'float32');
    const [aStrides, bStrides] = strided.strides as [Int32Array, Int32Array];
    if (array.length > 0) {
      backend.addon.binary(op, backend.f32(a), backend.f32(b), array, strided.dims, aStrides, bStrides);
    }
    return info;
  };
}

function comparison(op: number): FastKernel<never> {
  return (call) => {
    const pair = broadcastPair(call);
    if (!pair) return undefined;
    const { a, b, shape, strided } = pair;
    const { backend } = call;
    const { info, array } = backend.makeOutputPooled(shape, 'bool');
    const [aStrides, bStrides] = strided.strides as [Int32Array, Int32Array];
    if (array.length > 0) {
      backend.addon.compare(op, backend.f32(a), backend.f32(b), array, strided.dims, aStrides, bStrides);
    }
    return info;
  };
}

function unary(op: number): FastKernel<never> {
  return ({ inputs, backend }) => {
    const x = inputs.x!;
    if (!allFloat(x)) return undefined;
    const { info, array } = backend.makeOutputPooled(x.shape, 'float32');
    backend.addon.unary(op, backend.f32(x), array, array.length);
    return info;
  };
}

const clipByValue: FastKernel<{ clipValueMin: number; clipValueMax: number }> = (call) => {
  const { inputs, attrs, backend } = call;
  const x = inputs.x!;
  if (!allFloat(x)) return undefined;
  const { info, array } = backend.makeOutputPooled(x.shape, 'float32');
  backend.addon.clip(backend.f32(x), array, array.length, attrs.clipValueMin, attrs.clipValueMax);
  return info;
};

/** tf.where: tfjs has already broadcast all three to one shape. */
const select: FastKernel = ({ inputs, backend }) => {
  const { condition, t, e } = inputs as Record<string, tf.TensorInfo>;
  const n = sizeOf(t!.shape);
  if (!allFloat(t, e) || sizeOf(condition!.shape) !== n) return undefined;
  const { info, array } = backend.makeOutputPooled(t!.shape, 'float32');
  backend.addon.select(backend.read_(condition!, 'bool'), backend.f32(t!), backend.f32(e!), array, n);
  return info;
};

const cast: FastKernel<{ dtype: tf.DataType }> = ({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const to = attrs.dtype;
  if (x.dtype === to) return backend.alias(x, x.shape);
  const n = sizeOf(x.shape);
  if (to === 'float32' && (x.dtype === 'int32' || x.dtype === 'bool')) {
    const { info, array } = backend.makeOutputPooled(x.shape, 'float32');
    if (x.dtype === 'int32') backend.addon.i32ToF32(backend.i32(x), array, n);
    else backend.addon.u8ToF32(backend.read_(x, 'bool'), array, n);
    return info;
  }
  if (to === 'int32' && x.dtype === 'float32') {
    const { info, array } = backend.makeOutputPooled(x.shape, 'int32');
    backend.addon.f32ToI32(backend.f32(x), array, n);
    return info;
  }
  if (to === 'int32' && x.dtype === 'bool') {
    const { info, array } = backend.makeOutputPooled(x.shape, 'int32');
    array.set(backend.read_(x, 'bool'));
    return info;
  }
  return undefined;
};

const fill: FastKernel<{ shape: number[]; value: number; dtype?: tf.DataType }> = ({ attrs, backend }) => {
  const { shape, value, dtype = 'float32' } = attrs;
  if (typeof value !== 'number' || (dtype !== 'float32' && dtype !== 'int32')) return undefined;
  const { info, array } = backend.makeOutputPooled(shape, dtype);
  array.fill(value);
  return info;
};

const constantLike =
  (value: number): FastKernel =>
  ({ inputs, backend }) => {
    const x = inputs.x!;
    if (x.dtype !== 'float32' && x.dtype !== 'int32') return undefined;
    const { info, array } = backend.makeOutputPooled(x.shape, x.dtype);
    array.fill(value);
    return info;
  };

/** The elementwise kernels by name. */
export const elementwiseKernels: KernelTable = {
  ...Object.fromEntries(Object.entries(BINARY).map(([name, op]) => [name, binary(op)])),
  ...Object.fromEntries(Object.entries(COMPARISONS).map(([name, op]) => [name, comparison(op)])),
  ...Object.fromEntries(Object.entries(UNARY).map(([name, op]) => [name, unary(op)])),
  ClipByValue: clipByValue,
  Select: select,
  Cast: cast,
  Fill: fill,
  ZerosLike: constantLike(0),
  OnesLike: constantLike(1),
};
