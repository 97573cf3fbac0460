/**
 * @file The conformance suite of kernels: every case on a backend against the composite on tfjs's plain CPU backend, and
 * its gradients against central differences. A backend that cannot run here says so in the report; it fails if
 * UNFOLD_TEST_BACKENDS (a comma-separated list) asks for it.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../src/tensor/backend.ts';
import type { BackendName } from '../../src/tensor/backends/contract.ts';
import { backends } from '../../src/tensor/backends/table.ts';
import * as tf from '../../src/tensor/tf.ts';
import { expectClose } from './numbers.ts';

/** A tensor of a case: float32 unless it is indices. */
export interface CaseTensor {
  shape: number[];
  values: number[] | Float32Array | Int32Array;
  dtype?: 'float32' | 'int32';
}

/** One kernel on one set of inputs. */
export interface KernelCase {
  /** The kernel and what is particular here: `layerNorm of rows that are all equal`. */
  name: string;
  inputs: Record<string, CaseTensor>;
  run(inputs: Record<string, tf.Tensor>): tf.Tensor | tf.Tensor[];
  /** Inputs to differentiate by; sizes should be tiny. Outputs that are integers are left out of the loss. */
  gradients?: string[];
  /** Largest difference to the composite, relative to the larger of 1 and the value: default 1e-5. */
  tolerance?: number;
}

/** Runs every case on `name`. */
export async function kernelSuite(name: BackendName, cases: KernelCase[]): Promise<void> {
  const found = await backends[name].availability();
  if (!found.usable) {
    describe(`kernels: backend ${name} cannot run here (${found.detail})`, () => {
      it('is not one of UNFOLD_TEST_BACKENDS', () => {
        process.stderr.write(`kernels on ${name}: not tested, ${found.detail}\n`);
        expect((process.env.UNFOLD_TEST_BACKENDS ?? '').split(',')).not.toContain(name);
      });
    });
    return;
  }
  describe(`kernels on ${name}`, () => {
    beforeAll(async () => {
      await useBackend('cpu');
      await useBackend(name);
    });
    for (const one of cases) {
      it(`${one.name}: as the composite on cpu`, () => sameAsComposite(name, one));
      for (const input of one.gradients ?? []) {
        it(`${one.name}: gradient of ${input} as central differences`, () => gradientOf(name, one, input));
      }
    }
  });
}

function made(inputs: KernelCase['inputs']): Record<string, tf.Tensor> {
  const entries = Object.entries(inputs);
  return Object.fromEntries(
    entries.map(([key, { values, shape, dtype = 'float32' }]) => [
      key,
      tf.tensor(dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values), shape, dtype),
    ]),
  );
}

async function outputs(backend: BackendName, one: KernelCase) {
  await useBackend(backend);
  const results = tf.tidy(() => [one.run(made(one.inputs))].flat());
  return Promise.all(
    results.map(async (t) => {
      const out = { shape: t.shape, dtype: t.dtype, values: await t.data() };
      t.dispose();
      return out;
    }),
  );
}

async function sameAsComposite(backend: BackendName, one: KernelCase): Promise<void> {
  const expected = await outputs('cpu', one);
  const found = await outputs(backend, one);
  expect(found.map(({ shape, dtype }) => ({ shape, dtype }))).toEqual(
    expected.map(({ shape, dtype }) => ({ shape, dtype })),
  );
  for (const [i, { values }] of found.entries()) {
    expectClose(values, expected[i]!.values, one.tolerance ?? 1e-5);
  }
}

/** A fixed weighting of the outputs makes a scalar loss that every element takes part in. */
function loss(one: KernelCase, inputs: Record<string, tf.Tensor>): tf.Scalar {
  const outs = [one.run(inputs)].flat().filter((t) => t.dtype === 'float32');
  const terms = outs.map((t) => {
    const weights = Float32Array.from({ length: t.size }, (_, i) => Math.sin(1.3 * i + 0.7));
    return tf.sum(tf.mul(t, tf.tensor(weights, t.shape)));
  });
  return terms.reduce((a, b) => tf.add(a, b)) as tf.Scalar;
}

async function gradientOf(backend: BackendName, one: KernelCase, input: string): Promise<void> {
  await useBackend(backend);
  const at = (values: Float32Array): Record<string, tf.Tensor> => {
    const changed = { ...one.inputs[input]!, values };
    return made({ ...one.inputs, [input]: changed });
  };
  const point = Float32Array.from(one.inputs[input]!.values);
  const gradient = tf.tidy(() => {
    const inputs = at(point);
    return tf.grad((x) => loss(one, { ...inputs, [input]: x }))(inputs[input]!);
  });
  const found = await gradient.data();
  const h = 2 ** -7;
  const expected = await Promise.all(
    Array.from(point, async (value, i) => {
      const value_ = (to: number): Promise<Float32Array> => {
        const moved = Float32Array.from(point);
        moved[i] = to;
        return tf.tidy(() => loss(one, at(moved))).data() as Promise<Float32Array>;
      };
      const [[above], [below]] = await Promise.all([value_(value + h), value_(value - h)]);
      return (above! - below!) / (2 * h);
    }),
  );
  // The differences themselves are good to h² times the third derivative, and to float32's 1e-7 / h.
  expectClose(found, expected, 5e-3);
  gradient.dispose();
}
