/**
 * @file The backends that conformance suites run on: those in UNFOLD_TEST_BACKENDS (comma-separated; naming one that
 * cannot run fails), by default cpu, wasm, and native where it is built.
 */
import { BACKEND_NAMES, type BackendName } from '../../../src/tensor/backend.ts';
import { backends } from '../../../src/tensor/backends/table.ts';

export async function testedBackends(): Promise<BackendName[]> {
  const named = process.env.UNFOLD_TEST_BACKENDS?.split(',').filter(Boolean);
  if (named) {
    const unknown = named.filter((name) => !(BACKEND_NAMES as readonly string[]).includes(name));
    if (unknown.length > 0) throw new Error(`UNFOLD_TEST_BACKENDS: no backend ${unknown.join(', ')}`);
    return named as BackendName[];
  }
  const { usable } = await backends.native.availability();
  return usable ? ['cpu', 'wasm', 'native'] : ['cpu', 'wasm'];
}
