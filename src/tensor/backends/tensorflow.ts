/**
 * @file TensorFlow through `@tensorflow/tfjs-node-gpu` or `@tensorflow/tfjs-node`.
 */
import { UnfoldError } from '../../errors.ts';
import type { BackendModule } from './contract.ts';

export const tensorflow: BackendModule = {
  name: 'tensorflow',
  tfjsName: 'tensorflow',
  summary: 'TensorFlow (tfjs-node-gpu or tfjs-node): CUDA, or all cores of the CPU',
  async availability() {
    return { usable: false, detail: 'not installed', remedy: 'unfold backend install tensorflow' };
  },
  async register() {
    throw new UnfoldError('no-backend', {
      where: 'backend tensorflow',
      expected: '@tensorflow/tfjs-node-gpu or @tensorflow/tfjs-node',
      found: 'neither is installed',
      todo: 'unfold backend install tensorflow, or with --cpu where there is no CUDA GPU',
    });
  },
};
