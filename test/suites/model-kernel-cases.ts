/** @file Cases of the conformance suite: layer norm, GELU, causal attention, linear. */
import { causalAttention } from '../../src/tensor/kernels/causal-attention.ts';
import { linearGelu, linearResidual } from '../../src/tensor/kernels/fused-linear.ts';
import { type GeluForm, gelu } from '../../src/tensor/kernels/gelu.ts';
import { layerNorm } from '../../src/tensor/kernels/layer-norm.ts';
import { linear } from '../../src/tensor/kernels/linear.ts';
import type * as tf from '../../src/tensor/tf.ts';
import type { CaseTensor, KernelCase } from './kernels.ts';
import { noisy } from './numbers.ts';

const random = (shape: number[], seed: number, size = 1): CaseTensor => ({
  shape,
  values: noisy(
    shape.reduce((a, b) => a * b, 1),
    seed,
    size,
  ),
});

/** What is passed to one op, by name; the suite made them from the case's own inputs. */
type In = Record<string, tf.Tensor>;

function layerNormCase(name: string, shape: number[], more: Partial<KernelCase> = {}): KernelCase {
  const d = shape.at(-1)!;
  return {
    name: `layerNorm ${name}`,
    inputs: { x: random(shape, 1, 3), gamma: random([d], 2), beta: random([d], 3) },
    run: ({ x, gamma, beta }: In) => layerNorm(x!, gamma as tf.Tensor1D, beta as tf.Tensor1D, 1e-5),
    ...more,
  };
}

const layerNormCases: KernelCase[] = [
  layerNormCase('of [2, 3, 5]', [2, 3, 5], { gradients: ['x', 'gamma', 'beta'] }),
  layerNormCase('of rows that fill no vector', [7, 67]),
  layerNormCase('of GPT-2 small rows', [9, 768]),
  layerNormCase('of no rows', [0, 4]),
  layerNormCase('of equal elements is beta', [2, 4], {
    inputs: { x: { shape: [2, 4], values: Array(8).fill(3) }, gamma: random([4], 2), beta: random([4], 3) },
  }),
  layerNormCase('of large offsets keeps the variance', [3, 32], {
    inputs: {
      x: { shape: [3, 32], values: noisy(96, 8).map((v) => v + 1000) },
      gamma: random([32], 2),
      beta: random([32], 3),
    },
    // The elements themselves are rounded to 6e-5 and then divided by a deviation of 0.6.
    tolerance: 1e-3,
  }),
  {
    name: 'layerNorm without weights (LayerNormPre)',
    inputs: { x: random([3, 6], 4, 2) },
    run: ({ x }: In) => layerNorm(x!, undefined, undefined, 1e-5),
    gradients: ['x'],
  },
];

const specials = [-1e30, -30, -6, -3.5, -1, -1e-4, 0, 1e-4, 0.3, 1, 2.5, 6, 30, 1e30, Number.NaN];

function geluCases(form: GeluForm): KernelCase[] {
  const run = ({ x }: In) => gelu(x!, form);
  return [
    { name: `${form} of 1000 numbers`, inputs: { x: random([8, 125], 5, 6) }, run, tolerance: 1e-6 },
    { name: `${form} of extremes`, inputs: { x: { shape: [15], values: specials } }, run, tolerance: 1e-6 },
    { name: `${form}`, inputs: { x: random([11], 6, 3) }, run, gradients: ['x'] },
  ];
}

function attentionCase(
  name: string,
  sizes: { batch: number; queries: number; keys: number; heads: number; d: number; d_v?: number },
  more: Partial<KernelCase> = {},
): KernelCase {
  const { batch, queries, keys, heads, d, d_v = d } = sizes;
  return {
    name: `causalAttention ${name}`,
    inputs: {
      q: random([batch, queries, heads, d], 11, 2),
      k: random([batch, keys, heads, d], 12, 2),
      v: random([batch, keys, heads, d_v], 13),
    },
    run: ({ q, k, v }: In) =>
      causalAttention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, { scale: 1 / Math.sqrt(d) }),
    ...more,
  };
}

const attentionCases: KernelCase[] = [
  attentionCase(
    'of a tiny model',
    { batch: 1, queries: 3, keys: 3, heads: 2, d: 2 },
    { gradients: ['q', 'k', 'v'] },
  ),
  attentionCase(
    'with earlier keys',
    { batch: 2, queries: 2, keys: 4, heads: 1, d: 3 },
    { gradients: ['q', 'k', 'v'] },
  ),
  attentionCase('over several tiles of queries', { batch: 2, queries: 130, keys: 130, heads: 3, d: 8 }),
  attentionCase('of one new token', { batch: 1, queries: 1, keys: 77, heads: 2, d: 16 }),
  attentionCase('with values of another width', { batch: 1, queries: 5, keys: 9, heads: 2, d: 4, d_v: 7 }),
  attentionCase(
    'of large scores',
    { batch: 1, queries: 4, keys: 4, heads: 1, d: 4 },
    {
      inputs: {
        q: random([1, 4, 1, 4], 1, 100),
        k: random([1, 4, 1, 4], 2, 100),
        v: random([1, 4, 1, 4], 3),
      },
      // Scores of 10^4 are rounded to 5e-4 before they are exponents.
      tolerance: 2e-3,
    },
  ),
];

const linearCases: KernelCase[] = [
  {
    name: 'linear with a bias',
    inputs: { x: random([2, 3, 4], 21), W: random([4, 5], 22), b: random([5], 23) },
    run: ({ x, W, b }: In) => linear(x!, W as tf.Tensor2D, b as tf.Tensor1D),
    gradients: ['x', 'W', 'b'],
  },
  {
    name: 'linear without a bias',
    inputs: { x: random([33, 70], 24), W: random([70, 19], 25) },
    run: ({ x, W }: In) => linear(x!, W as tf.Tensor2D),
  },
];

const fusedCases: KernelCase[] = [
  ...(['gelu_new', 'gelu'] as const).map(
    (form): KernelCase => ({
      name: `linear and ${form} in one`,
      inputs: { x: random([2, 3, 4], 31), W: random([4, 5], 32), b: random([5], 33) },
      run: ({ x, W, b }: In) => linearGelu(x!, W as tf.Tensor2D, b as tf.Tensor1D, form),
      gradients: ['x', 'W', 'b'],
    }),
  ),
  {
    name: 'linear added to a residual stream',
    inputs: {
      x: random([2, 3, 4], 36),
      W: random([4, 5], 37),
      b: random([5], 38),
      residual: random([2, 3, 5], 39),
    },
    run: ({ x, W, b, residual }: In) => linearResidual(residual!, x!, W as tf.Tensor2D, b as tf.Tensor1D),
    gradients: ['x', 'W', 'b', 'residual'],
  },
];

/** Cases of the kernels that the model is made of. */
export const modelKernelCases: KernelCase[] = [
  ...layerNormCases,
  ...geluCases('gelu_new'),
  ...geluCases('gelu'),
  ...attentionCases,
  ...linearCases,
  ...fusedCases,
];
