/** @file What the model's tests share: reference values of the original systems and how closely to meet them. */
import { readFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { readSafetensors, type TensorData } from '../../src/model/safetensors.ts';
import { nativeAddon } from '../../src/tensor/native.ts';
import type * as tf from '../../src/tensor/tf.ts';

const folder = new URL('../fixtures/model/', import.meta.url).pathname;

/** The bundled model, for which the reference values hold. */
export const novels = new URL('../../checkpoints/novels-4l', import.meta.url).pathname;

/** The backends that every machine has, and ours where it is built. */
export const backends = nativeAddon() ? (['native', 'cpu', 'wasm'] as const) : (['cpu', 'wasm'] as const);

/** A JSON fixture. */
export async function json<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(folder + name, 'utf8')) as T;
}

/** A safetensors fixture with its tolerances. */
export class Golden {
  readonly tensors: Map<string, TensorData>;
  readonly #file: string;
  readonly #tolerances: Record<string, { atol: number; rtol: number }>;
  /** Largest absolute difference so far. */
  worst = 0;

  private constructor(
    file: string,
    tensors: Map<string, TensorData>,
    tolerances: typeof Golden.prototype.tolerances,
  ) {
    this.#file = file;
    this.tensors = tensors;
    this.#tolerances = tolerances;
  }

  get tolerances(): Record<string, { atol: number; rtol: number }> {
    return this.#tolerances;
  }

  static async open(file: string): Promise<Golden> {
    return new Golden(file, await readSafetensors(folder + file), await json('tolerances.json'));
  }

  /** Expects `actual` to be the reference tensor `name`: same shape, |a - b| <= atol + rtol |b|, equal infinities. */
  expectClose(actual: tf.Tensor, name: string): void {
    const { shape, data } = this.tensors.get(name)!;
    expect(actual.shape, name).toEqual(shape);
    const tolerance = this.#tolerances[`${this.#file}:${name}`] ?? { atol: 1e-4, rtol: 1e-4 };
    this.worst = Math.max(this.worst, expectClose(actual.dataSync(), data as Float32Array, name, tolerance));
  }
}

/** Expects values to agree; returns the largest absolute difference. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  name: string,
  { atol, rtol } = { atol: 1e-4, rtol: 1e-4 },
): number {
  expect(actual.length, name).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [actual[i]!, expected[i]!];
    if (a === b) continue;
    const difference = Math.abs(a - b);
    if (!(difference <= atol + rtol * Math.abs(b))) expect.fail(`${name}[${i}] is ${a}, not ${b}`);
    worst = Math.max(worst, difference);
  }
  return worst;
}
