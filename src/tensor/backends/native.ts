/**
 * @file Registers the tfjs backend `native`. Every op of tfjs's CPU backend is there; those in the tables below run in
 * C++. Kernels of Unfold's own are registered under their names: the model's here, the coders' in native-coder.ts.
 */
import '@tensorflow/tfjs-backend-cpu';
import { nativeAddon } from '../native.ts';
import * as tf from '../tf.ts';
import { NativeBackend } from './native-backend.ts';
import { coderKernels } from './native-coder.ts';
import { elementwiseKernels } from './native-elementwise.ts';
import { type KernelTable, withFallback } from './native-kernel.ts';
import { layoutKernels } from './native-layout.ts';
import { matMulKernels } from './native-matmul.ts';
import { modelKernels } from './native-model.ts';
import { reduceKernels } from './native-reduce.ts';

const kernels: KernelTable = {
  ...matMulKernels,
  ...elementwiseKernels,
  ...reduceKernels,
  ...layoutKernels,
  ...modelKernels,
  ...coderKernels,
};

let registered = false;

/** Registers backend `native`, once. @returns false where the addon is not built or cannot be loaded. */
export function registerNative(): boolean {
  const addon = nativeAddon();
  if (!addon) return false;
  if (registered) return true;
  registered = true;
  tf.registerBackend('native', () => new NativeBackend(addon), 2);
  const plain = new Map(tf.getKernelsForBackend('cpu').map((config) => [config.kernelName, config]));
  for (const [kernelName, config] of plain) {
    if (!(kernelName in kernels)) tf.registerKernel({ ...config, backendName: 'native' });
  }
  for (const [kernelName, fast] of Object.entries(kernels)) {
    const kernelFunc = withFallback(fast, plain.get(kernelName)?.kernelFunc);
    tf.registerKernel({ kernelName, backendName: 'native', kernelFunc });
  }
  return true;
}

/** The backend's object, to ask for its pool; undefined until {@link registerNative}. */
export function nativeBackend(): NativeBackend | undefined {
  const backend = registered ? tf.findBackend('native') : undefined;
  return backend instanceof NativeBackend ? backend : undefined;
}
