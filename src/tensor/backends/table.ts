/**
 * @file The backends, one line each. `native` is wrapped here so that its file stays about kernels.
 */
import { UnfoldError } from '../../errors.ts';
import type { BackendModule, BackendName } from './contract.ts';
import { cpu } from './cpu.ts';
import { tensorflow } from './tensorflow.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

/** The part of `native.ts` that is needed to switch it on. */
interface NativeFile {
  /** Registers backend `native`; false when the addon is not built. */
  registerNative(): boolean;
}

const NATIVE_FILE: string = './native.ts';
const BUILD_NATIVE = 'npm run build:native (its output says what is missing, such as g++ or libdnnl-dev)';

const native: BackendModule = {
  name: 'native',
  tfjsName: 'native',
  summary: 'C++ kernels of Unfold on oneDNN or OpenBLAS, all cores',
  async availability() {
    return { usable: true, detail: 'C++ kernels' };
  },
  async register() {
    const file = (await import(NATIVE_FILE).catch(() => undefined)) as NativeFile | undefined;
    if (file?.registerNative()) return 'C++ kernels';
    throw new UnfoldError('no-backend', {
      where: 'backend native',
      expected: 'the addon build/native/unfold.node',
      found: 'it is not built, or does not load',
      todo: BUILD_NATIVE,
    });
  },
};

export const backends: Readonly<Record<BackendName, BackendModule>> = {
  tensorflow,
  native,
  webgpu,
  wasm,
  cpu,
};
