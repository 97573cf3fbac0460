/** @file Cases of scatter terms and Adam for the conformance suite of the coder kernels. */
import { describe, expect, it } from 'vitest';
import { adam } from '../../src/tensor/kernels/adam.ts';
import { scatterAdam } from '../../src/tensor/kernels/scatter-adam.ts';
import { scatterBias } from '../../src/tensor/kernels/scatter-bias.ts';
import { scatterGrad } from '../../src/tensor/kernels/scatter-grad.ts';
import { scatterNormSquared } from '../../src/tensor/kernels/scatter-norm.ts';
import type { ScatterTerm } from '../../src/tensor/kernels/scatter-terms.ts';
import * as tf from '../../src/tensor/tf.ts';
import * as reference from './coder-reference.ts';
import { close, flat, int, numbersOf, randomTerms, tensorTerm, variable } from './coder-tools.ts';

/** Adds the cases. */
export function scatterCases(): void {
  describe('scatter terms', () => {
    it('sum coefficients times rows by latent, over terms: worked by hand', () => {
      const terms = [
        tensorTerm({ indices: [[2, 0]], coefficients: [[1, 10]], rows: [[1, 2]] }),
        tensorTerm({
          indices: [[2], [2]],
          coefficients: [[3], [0]],
          rows: [
            [1, 1],
            [9, 9],
          ],
        }),
      ];
      expect(numbersOf(scatterGrad(terms, 3))).toEqual([10, 20, 0, 0, 4, 5]);
      expect(numbersOf(scatterBias(terms, 3))).toEqual([10, 0, 4]);
      expect(numbersOf(scatterNormSquared(terms, 3))).toEqual([541]);
    });

    it.each([
      { F: 1, d: 1 },
      { F: 40, d: 17 },
      { F: 333, d: 100 },
    ])('agree with the float64 reference: $F latents of width $d', ({ F, d }) => {
      const terms = randomTerms(F, d);
      const grad = flat(reference.scatter(terms, F, d));
      const tensors = terms.map(tensorTerm);
      close(scatterGrad(tensors, F), grad);
      close(scatterNormSquared(tensors, F), [grad.reduce((sum, g) => sum + g * g, 0)], 1e-4);
      const ones = terms.map((t) => ({ ...t, rows: t.rows.map(() => [1]) }));
      close(scatterBias(tensors, F), flat(reference.scatter(ones, F, 1)));
    });

    it('add the self gradient to the norm', () => {
      const terms = [tensorTerm({ indices: [[0]], coefficients: [[1]], rows: [[1, 2]] })];
      const self = {
        W: tf.tensor2d([
          [1, 1],
          [3, 0],
        ]),
        selfGrad: tf.tensor1d([2, -1]),
      };
      // [1, 2] + 2 [1, 1] = [3, 4]; -[3, 0].
      expect(numbersOf(scatterNormSquared(terms, 2, self))).toEqual([34]);
    });

    it('refuse coefficients of another shape than their indices', () => {
      const term = { indices: int([[0, 1]]), coefficients: tf.ones([1, 3]), rows: tf.ones([1, 2]) };
      expect(() => scatterGrad([term as ScatterTerm], 4)).toThrow(/coefficients of term 0/);
    });
  });

  describe('Adam', () => {
    it('takes a first step of lr against the sign of the gradient, whatever its size', () => {
      const [p, m, v] = [[[1, 1]], [[0, 0]], [[0, 0]]].map(variable) as [
        tf.Variable,
        tf.Variable,
        tf.Variable,
      ];
      adam(p, m, v, tf.tensor2d([[1e-3, -50]]), { lr: 0.25, step: 1 });
      close(p, [0.75, 1.25]);
      close(m, [1e-4, -5], 1e-6);
      close(v, [1e-9, 2.5], 1e-6);
    });

    it('of scatter terms is dense Adam of their dense gradient, over three steps, untouched latents included', () => {
      const [F, d] = [50, 19];
      const next = reference.numbers(3);
      const start = [
        reference.matrix(F, d, next),
        reference.matrix(F, d, next),
        reference.matrix(F, d, () => next() ** 2),
      ];
      const sparse = start.map(variable) as [tf.Variable, tf.Variable, tf.Variable];
      const dense = start.map(variable) as [tf.Variable, tf.Variable, tf.Variable];
      const selfGrad = tf.tensor1d(reference.matrix(1, F, () => (next() > 0.2 ? next() : 0))[0]!);
      for (let step = 1; step <= 3; step++) {
        const terms = randomTerms(F, d, step).map(tensorTerm);
        const settings = { lr: 1e-2, beta1: 0.8, beta2: 0.99, eps: 1e-6, step, gradScale: 0.3 };
        const grad = tf.tidy(() =>
          tf.add(scatterGrad(terms, F), tf.mul(tf.reshape(selfGrad, [F, 1]), dense[0])),
        );
        scatterAdam(...sparse, terms, { ...settings, selfGrad });
        adam(...dense, grad, settings);
      }
      sparse.forEach((tensor, i) => {
        close(tensor, numbersOf(dense[i]!), 1e-6);
      });
      expect(numbersOf(sparse[0])).not.toEqual(flat(start[0]!));
    });

    it('without terms lets the moments decay and move the weights', () => {
      const [W, m, v] = [[[1]], [[0.5]], [[0.25]]].map(variable) as [tf.Variable, tf.Variable, tf.Variable];
      scatterAdam(W, m, v, [], { lr: 0.1, step: 1000, beta1: 0.5, beta2: 0.5 });
      close(m, [0.25]);
      close(v, [0.125]);
      close(W, [1 - (0.1 * 0.25) / Math.sqrt(0.125)], 1e-5);
    });

    it('leaves tensors alone that share the memory of what it updates', () => {
      const W = variable([
        [1, 2],
        [3, 4],
      ]);
      const [m, v] = [
        variable([
          [0, 0],
          [0, 0],
        ]),
        variable([
          [0, 0],
          [0, 0],
        ]),
      ];
      const [copy, view] = [tf.clone(W), tf.reshape(W, [4])];
      const read = W.dataSync();
      adam(W, m, v, tf.ones([2, 2]), { lr: 1, step: 1 });
      for (const untouched of [numbersOf(copy), numbersOf(view), [...read]])
        expect(untouched).toEqual([1, 2, 3, 4]);
      close(W, [0, 1, 2, 3]);
    });
  });
}
