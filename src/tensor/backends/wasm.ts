/**
 * @file tfjs's WebAssembly backend: no compiler needed, SIMD, one thread under Node (its threaded build is found to
 * start browser workers, which Node lacks). The fallback where the native addon cannot be built.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { BackendModule } from './contract.ts';

export const wasm: BackendModule = {
  name: 'wasm',
  tfjsName: 'wasm',
  summary: 'WebAssembly with SIMD (tfjs-backend-wasm), one thread',
  async availability() {
    return { usable: true, detail: 'WebAssembly with SIMD, one thread' };
  },
  async register() {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    const entry = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
    setWasmPaths(join(dirname(entry), '/'));
    return 'WebAssembly with SIMD, one thread';
  },
};
