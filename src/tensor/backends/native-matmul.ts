/**
 * @file Matrix products on backend `native`: sgemm with every transposition and broadcast of the batch, then bias and
 * activation in one pass over the product.
 */
import {
  allFloat,
  broadcastStrides,
  type FastKernel,
  type KernelCall,
  type KernelTable,
  sizeOf,
  tf,
} from './native-kernel.ts';

interface MatMulAttrs {
  transposeA: boolean;
  transposeB: boolean;
}

interface FusedAttrs extends MatMulAttrs {
  activation?: string;
}

/** Numbers as in matmul.cc; other activations run as on the CPU backend. */
const ACTIVATIONS: Record<string, number> = { linear: 0, relu: 1, sigmoid: 4 };

interface Product {
  shape: number[];
  m: number;
  n: number;
  k: number;
  outer: number[];
  aOuter: number[];
  bOuter: number[];
}

function productOf(a: tf.TensorInfo, b: tf.TensorInfo, { transposeA, transposeB }: MatMulAttrs): Product {
  const [aRows, aColumns] = a.shape.slice(-2) as [number, number];
  const [bRows, bColumns] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const [bk, n] = transposeB ? [bColumns, bRows] : [bRows, bColumns];
  tf.util.assert(k === bk, () => {
    return `matMul: inner sizes ${k} and ${bk} of shapes [${a.shape}] and [${b.shape}] with transposeA=${transposeA} and transposeB=${transposeB} must match.`;
  });
  const aOuter = a.shape.slice(0, -2);
  const bOuter = b.shape.slice(0, -2);
  const outer = tf.backend_util.assertAndGetBroadcastShape(aOuter, bOuter);
  return { shape: [...outer, m, n], m, n, k, outer, aOuter, bOuter };
}

function multiply(call: KernelCall<MatMulAttrs>): { info: tf.TensorInfo; array: Float32Array } | undefined {
  const { inputs, attrs, backend } = call;
  const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
  if (!allFloat(a, b)) return undefined;
  const product = productOf(a, b, attrs);
  const { m, n, k } = product;
  const out = backend.makeOutputPooled(product.shape, 'float32');
  const [x, y] = [backend.f32(a), backend.f32(b)];
  const [batch, aBatches, bBatches] = [product.outer, product.aOuter, product.bOuter].map(sizeOf) as [
    number,
    number,
    number,
  ];
  const { transposeA, transposeB } = attrs;
  const { addon } = backend;
  if (out.array.length === 0) return out;
  if (bBatches === 1 && !transposeA) {
    // One matrix on the right: the batch is just more rows.
    addon.matMul(false, transposeB, 1, batch * m, n, k, x, 1, y, 1, out.array);
  } else if ((aBatches === 1 || aBatches === batch) && (bBatches === 1 || bBatches === batch)) {
    addon.matMul(transposeA, transposeB, batch, m, n, k, x, aBatches, y, bBatches, out.array);
  } else {
    oneByOne(call, product, out.array);
  }
  return out;
}

/** Batches that are broadcast along some of their dimensions only. */
function oneByOne({ inputs, attrs, backend }: KernelCall<MatMulAttrs>, product: Product, out: Float32Array) {
  const { m, n, k, outer } = product;
  const [x, y] = [backend.f32(inputs.a!), backend.f32(inputs.b!)];
  const aSteps = broadcastStrides(product.aOuter, outer);
  const bSteps = broadcastStrides(product.bOuter, outer);
  for (let i = 0; i < sizeOf(outer); i++) {
    let rest = i;
    let [ai, bi] = [0, 0];
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      const at = rest % outer[axis]!;
      rest = (rest - at) / outer[axis]!;
      ai += at * aSteps[axis]!;
      bi += at * bSteps[axis]!;
    }
    backend.addon.matMul(
      attrs.transposeA,
      attrs.transposeB,
      1,
      m,
      n,
      k,
      x.subarray(ai * m * k, (ai + 1) * m * k),
      1,
      y.subarray(bi * k * n, (bi + 1) * k * n),
      1,
      out.subarray(i * m * n, (i + 1) * m * n),
    );
  }
}

const batchMatMul: FastKernel<MatMulAttrs> = (call) => multiply(call)?.info;

const fusedMatMul: FastKernel<FusedAttrs> = (call) => {
  const { inputs, attrs, backend } = call;
  const activation = ACTIVATIONS[attrs.activation ?? 'linear'];
  const { bias } = inputs;
  if (activation === undefined || !allFloat(inputs.a, inputs.b, bias)) return undefined;
  const columns = attrs.transposeB ? inputs.b!.shape.at(-2)! : inputs.b!.shape.at(-1)!;
  // A bias of the product's own shape, or a single number, is rare: the CPU backend knows how.
  if (bias && (sizeOf(bias.shape) !== columns || bias.shape.at(-1) !== columns)) return undefined;
  const out = multiply(call);
  if (!out) return undefined;
  if (bias || activation !== 0) {
    const rows = columns === 0 ? 0 : out.array.length / columns;
    backend.addon.addBias(out.array, bias ? backend.f32(bias) : null, rows, columns, activation);
  }
  return out.info;
};

/** The products by tfjs's kernel names. */
export const matMulKernels: KernelTable = { BatchMatMul: batchMatMul, _FusedMatMul: fusedMatMul };
