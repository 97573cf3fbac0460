import { kernelSuite } from '../suites/kernels.ts';
import { modelKernelCases } from '../suites/model-kernel-cases.ts';

await kernelSuite('webgpu', modelKernelCases);
