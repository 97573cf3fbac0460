/** @file tfjs ops that backend `native` overrides, on shapes that take each of its paths: for comparing with `cpu`. */
import * as tf from '../../src/tensor/tf.ts';
import { noisy } from './numbers.ts';

/** A name and a function that makes its own inputs on the current backend. */
export type OpCase = [name: string, run: () => tf.Tensor | tf.Tensor[]];

let seed = 1;
const r = <R extends tf.Rank>(...shape: number[]): tf.Tensor<R> =>
  tf.tensor(
    noisy(
      shape.reduce((a, b) => a * b, 1),
      seed++,
      3,
    ),
    shape as tf.ShapeMap[R],
  );
const ints = (shape: number[], values: number[]): tf.Tensor =>
  tf.tensor(Int32Array.from(values), shape, 'int32');
const special = () =>
  tf.tensor1d([Number.NaN, Infinity, -Infinity, 0, -0, 1, -1, 1e-40, 3e38, -120, 89, 0.5]);
const specialPairs = () => [tf.reshape(special(), [12, 1]), tf.reshape(special(), [1, 12])] as const;

const pairs: [string, () => [tf.Tensor, tf.Tensor]][] = [
  ['one shape', () => [r(3, 5), r(3, 5)]],
  ['a scalar', () => [r(4, 7), tf.scalar(1.5)]],
  ['a scalar on the left', () => [tf.scalar(1.5), r(4, 7)]],
  ['a row', () => [r(5, 33), r(33)]],
  ['a column', () => [r(5, 33), r(5, 1)]],
  ['an outer product', () => [r(4, 1), r(1, 6)]],
  ['a middle axis', () => [r(3, 1, 5), r(3, 4, 5)]],
  ['alternating axes', () => [r(2, 1, 3, 1, 2), r(1, 4, 1, 5, 2)]],
  ['more axes than C++ takes', () => [r(2, 1, 2, 1, 2, 1, 2), r(1, 2, 1, 2, 1, 2, 1)].map((t) => t) as never],
  ['nothing', () => [r(0, 3), r(3)]],
  ['enough for threads', () => [r(300, 257), r(257)]],
  ['special values', () => [...specialPairs()]],
];

const binaryOps: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
  add: tf.add,
  sub: tf.sub,
  mul: tf.mul,
  div: tf.div,
  maximum: tf.maximum,
  minimum: tf.minimum,
  squaredDifference: tf.squaredDifference,
  greater: tf.greater,
  greaterEqual: tf.greaterEqual,
  less: tf.less,
  lessEqual: tf.lessEqual,
  equal: tf.equal,
  notEqual: tf.notEqual,
};

const binaryCases: OpCase[] = Object.entries(binaryOps).flatMap(([name, op]) =>
  pairs
    // The sixth axis of seven is more than tfjs's own squaredDifference test covers; one op is enough for that path.
    .filter(([what]) => what !== 'more axes than C++ takes' || name === 'mul')
    .map(([what, make]): OpCase => [`${name} with ${what}`, () => op(...make())]),
);

const unaryOps: Record<string, (x: tf.Tensor) => tf.Tensor> = {
  exp: tf.exp,
  sqrt: tf.sqrt,
  rsqrt: tf.rsqrt,
  log: tf.log,
  tanh: tf.tanh,
  sigmoid: tf.sigmoid,
  relu: tf.relu,
  erf: tf.erf,
  neg: tf.neg,
  square: tf.square,
  abs: tf.abs,
  reciprocal: tf.reciprocal,
  clip: (x) => tf.clipByValue(x, -0.5, 1),
  'cast to integers': (x) => tf.cast(x, 'int32'),
  'cast to booleans': (x) => tf.cast(x, 'bool'),
  zerosLike: tf.zerosLike,
  onesLike: tf.onesLike,
};

const unaryCases: OpCase[] = Object.entries(unaryOps).flatMap(([name, op]): OpCase[] => [
  [`${name} of numbers`, () => op(r(7, 19))],
  [`${name} of special values`, () => op(special())],
  [`${name} of nothing`, () => op(r(0, 2))],
]);

const reductions: Record<string, (x: tf.Tensor, axis?: number | number[], keep?: boolean) => tf.Tensor> = {
  sum: tf.sum,
  mean: tf.mean,
  max: tf.max,
  min: tf.min,
};

const axes: [string, number[], number | number[] | undefined][] = [
  ['everything', [3, 4, 5], undefined],
  ['the last axis', [3, 4, 70], -1],
  ['the first axis', [70, 3, 4], 0],
  ['a middle axis', [3, 40, 5], 1],
  ['axes apart', [3, 4, 5, 2], [0, 2]],
  ['axes together', [3, 4, 5], [1, 2]],
  ['a long row', [2, 70001], 1],
];

const reduceCases: OpCase[] = Object.entries(reductions).flatMap(([name, op]) =>
  axes.flatMap(([what, shape, axis]): OpCase[] => [
    [`${name} over ${what}`, () => op(r(...shape), axis)],
    [`${name} over ${what}, axes kept`, () => op(r(...shape), axis, true)],
  ]),
);

const matMulCases: OpCase[] = [false, true].flatMap((tA) =>
  [false, true].flatMap((tB): OpCase[] => {
    const left = (m: number, k: number) => (tA ? [k, m] : [m, k]);
    const right = (k: number, n: number) => (tB ? [n, k] : [k, n]);
    const named = (what: string) => `matMul${tA ? ' Aᵀ' : ''}${tB ? ' Bᵀ' : ''} of ${what}`;
    return [
      [named('two matrices'), () => tf.matMul(r(...left(5, 7)), r(...right(7, 3)), tA, tB)],
      [named('sizes beyond a tile'), () => tf.matMul(r(...left(65, 130)), r(...right(130, 67)), tA, tB)],
      [named('a vector'), () => tf.matMul(r(...left(1, 9)), r(...right(9, 4)), tA, tB)],
      [named('batches'), () => tf.matMul(r(6, ...left(4, 5)), r(6, ...right(5, 3)), tA, tB)],
      [named('a batch and one matrix'), () => tf.matMul(r(6, ...left(4, 5)), r(...right(5, 3)), tA, tB)],
      [named('one matrix and a batch'), () => tf.matMul(r(1, ...left(4, 5)), r(6, ...right(5, 3)), tA, tB)],
      [named('no rows'), () => tf.matMul(r(...left(0, 5)), r(...right(5, 3)), tA, tB)],
      [named('nothing summed'), () => tf.matMul(r(...left(2, 0)), r(...right(0, 3)), tA, tB)],
      [
        named('bias and relu'),
        () =>
          tf.fused.matMul({
            a: r<tf.Rank.R2>(...left(4, 5)),
            b: r<tf.Rank.R2>(...right(5, 3)),
            bias: r(3),
            activation: 'relu',
            transposeA: tA,
            transposeB: tB,
          }),
      ],
    ];
  }),
);

const layoutCases: OpCase[] = [
  ['transpose of a matrix', () => tf.transpose(r(37, 65))],
  ['transpose of heads', () => tf.transpose(r(2, 5, 3, 4), [0, 2, 1, 3])],
  ['transpose of all axes', () => tf.transpose(r(2, 3, 4, 5), [3, 1, 0, 2])],
  ['transpose of integers', () => tf.transpose(ints([2, 3], [1, 2, 3, 4, 5, 6]))],
  ['tile', () => tf.tile(r(2, 1, 3), [1, 4, 2])],
  ['broadcastTo', () => tf.broadcastTo(r(3, 1), [2, 3, 4])],
  ['concat of rows', () => tf.concat([r(2, 3), r(0, 3), r(4, 3)], 0)],
  ['concat of columns', () => tf.concat([r(2, 3), r(2, 1), r(2, 5)], 1)],
  ['concat of integers', () => tf.concat([ints([2], [1, 2]), ints([1], [3])])],
  ['stack', () => tf.stack([r(2, 3), r(2, 3)], 1)],
  ['unstack', () => tf.unstack(r(3, 2, 2), 1)],
  ['slice of rows, a view', () => tf.slice(r(5, 4), [1, 0], [3, 4])],
  ['slice of columns', () => tf.slice(r(5, 9), [1, 2], [3, 4])],
  ['split into thirds', () => tf.split(r(4, 9), 3, 1)],
  ['split by sizes', () => tf.split(r(4, 2, 6), [1, 2, 3], 2)],
  [
    'pad of rows',
    () =>
      tf.pad(
        r(2, 3),
        [
          [1, 2],
          [0, 0],
        ],
        7,
      ),
  ],
  [
    'pad of both',
    () =>
      tf.pad(r(2, 3), [
        [1, 2],
        [3, 0],
      ]),
  ],
  ['gather of rows', () => tf.gather(r(5, 3), ints([4], [4, 0, 0, 2]))],
  ['gather by a matrix', () => tf.gather(r(5, 3), ints([2, 2], [4, 0, 1, 2]))],
  ['gather of columns', () => tf.gather(r(2, 5, 3), ints([2], [3, 1]), 1)],
  ['unsortedSegmentSum', () => tf.unsortedSegmentSum(r(4, 3), ints([4], [2, 0, 2, 1]) as tf.Tensor1D, 4)],
  ['fill', () => tf.fill([3, 2], -1.5)],
];

const chosen = () => tf.tensor2d([1, 0, 0, 1, 1, 0], [2, 3], 'bool');
const otherCases: OpCase[] = [
  ['where', () => tf.where(chosen(), r(2, 3), r(2, 3))],
  ['where with a scalar', () => tf.where(chosen(), r(2, 3), Number.NEGATIVE_INFINITY)],
  ['softmax', () => tf.softmax(r(4, 6, 37))],
  ['softmax with hidden places', () => tf.softmax(tf.tensor2d([1, -Infinity, 3, -1e30, 2, 2], [2, 3]))],
  ['softmax of NaN', () => tf.softmax(tf.tensor1d([1, Number.NaN, 2]))],
  ['logSoftmax', () => tf.logSoftmax(r(4, 37))],
  ['topk', () => Object.values(tf.topk(r(6, 50), 5))],
  ['topk of most', () => Object.values(tf.topk(r(6, 50), 48))],
  ['topk with ties', () => Object.values(tf.topk(tf.tensor1d([1, 3, 3, 0, 3, 1]), 4))],
  ['argMax with ties', () => tf.argMax(tf.tensor2d([1, 3, 3, 0, 0, 0], [2, 3]), 1)],
  ['argMin over rows', () => tf.argMin(r(5, 4), 0)],
  ['integers added', () => tf.add(ints([3], [1, 2, 3]), ints([3], [4, 5, 6]))],
  ['integers summed', () => tf.sum(ints([2, 3], [1, 2, 3, 4, 5, 6]), 1)],
  ['booleans summed', () => tf.sum(chosen(), 0)],
  ['mean of integers', () => tf.mean(ints([4], [1, 2, 3, 5]))],
  ['integers to floats, multiplied', () => tf.mul(tf.cast(ints([3], [1, 2, 3]), 'float32'), 0.5)],
  ['booleans to floats', () => tf.cast(chosen(), 'float32')],
  ['large numbers to integers', () => tf.cast(tf.tensor1d([3e9, -3e9, 1e20, 2.9, -2.9]), 'int32')],
];

/** Everything; each case makes its inputs anew, the same ones whenever the list is run from the start. */
export const opCases: OpCase[] = [
  ...binaryCases,
  ...unaryCases,
  ...reduceCases,
  ...matMulCases,
  ...layoutCases,
  ...otherCases,
];

/** Runs a case with the random numbers that belong to `index`. */
export function runOpCase(index: number): tf.Tensor[] {
  seed = 1000 * (index + 1);
  return [opCases[index]![1]()].flat();
}
