/**
 * @file WebGPU through Dawn.
 */
import { UnfoldError } from '../../errors.ts';
import type { BackendModule } from './contract.ts';

export const webgpu: BackendModule = {
  name: 'webgpu',
  tfjsName: 'webgpu',
  summary: 'WebGPU (tfjs-backend-webgpu on Dawn): any modern GPU',
  async availability() {
    return { usable: false, detail: 'not installed', remedy: 'unfold backend install webgpu' };
  },
  async register() {
    throw new UnfoldError('no-backend', {
      where: 'backend webgpu',
      expected: 'the packages webgpu and @tensorflow/tfjs-backend-webgpu',
      found: 'they are not installed',
      todo: 'unfold backend install webgpu',
    });
  },
};
