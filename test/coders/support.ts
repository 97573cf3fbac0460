/** @file What the coder tests share: fixtures, tensors from files, and the backends that can run here. */
import { fileURLToPath } from 'node:url';
import { readJson } from '../../src/files.ts';
import { asFloat32 } from '../../src/model/dtypes.ts';
import { readSafetensors } from '../../src/model/safetensors.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';

/** Path of a fixture of this area. */
export function fixture(path: string): string {
  return fileURLToPath(new URL(`../fixtures/coders/${path}`, import.meta.url));
}

export async function fixtureJson<T>(path: string): Promise<T> {
  return (await readJson(fixture(path))) as T;
}

/** Every tensor of a fixture file, as float32. The caller disposes. */
export async function fixtureTensors(path: string): Promise<Record<string, tf.Tensor>> {
  const read = await readSafetensors(fixture(path));
  return Object.fromEntries(
    [...read].map(([name, { shape, data }]) => [name, tf.tensor(asFloat32(data), shape, 'float32')]),
  );
}

/** Largest absolute difference. */
export function difference(a: tf.Tensor, b: tf.Tensor): number {
  if (a.shape.join() !== b.shape.join()) return Number.POSITIVE_INFINITY;
  return tf.tidy(() => tf.max(tf.abs(tf.sub(a, b))).dataSync()[0]!);
}

/** Largest absolute entry. */
export function largest(a: tf.Tensor): number {
  return tf.tidy(() => tf.max(tf.abs(a)).dataSync()[0]!);
}

/** The composites on tfjs's cpu backend, and our kernels where they are built. */
export async function usableBackends(): Promise<('cpu' | 'native')[]> {
  const native = await useBackend('native').then(
    () => true,
    () => false,
  );
  return native ? ['cpu', 'native'] : ['cpu'];
}
