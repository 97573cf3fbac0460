/**
 * @file The backends, one line each. `native` is wrapped here so that its file stays about kernels.
 */
import { UnfoldError } from '../../errors.ts';
import { type NativeInfo, nativeInfo } from '../native.ts';
import type { BackendModule, BackendName } from './contract.ts';
import { cpu } from './cpu.ts';
import { tensorflow } from './tensorflow.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

const native: BackendModule = {
  name: 'native',
  tfjsName: 'native',
  summary: "Unfold's own C++ kernels on oneDNN, OpenBLAS or Accelerate, all cores",

  async availability() {
    const info = nativeInfo();
    if (info.available) return { usable: true, detail: describe(info) };
    return { usable: false, detail: info.reason ?? 'not built', remedy: info.mend };
  },

  async register() {
    const info = nativeInfo();
    if (info.available) {
      const { registerNative } = await import('./native.ts');
      if (registerNative()) return describe(info);
    }
    throw new UnfoldError('no-backend', {
      where: 'backend native',
      expected: 'the C++ kernels, built for this machine',
      found: info.reason ?? 'they are not built',
      todo: info.mend ?? 'npm run build:native',
    });
  },
};

function describe({ blas, variant, threads }: NativeInfo): string {
  return `C++ kernels (${variant}), products by ${blas}, ${threads} threads`;
}

export const backends: Readonly<Record<BackendName, BackendModule>> = {
  tensorflow,
  native,
  webgpu,
  wasm,
  cpu,
};
