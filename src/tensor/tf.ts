/**
 * @file The one place that imports tfjs (with gradients.ts, which adds the gradients that its Node build lacks). Its CommonJS and ES module builds keep separate registries of kernels and
 * gradients, so everything in Unfold imports `tf` from here, and Node resolves it to the CommonJS build that
 * `@tensorflow/tfjs-node(-gpu)` also loads.
 */
import './gradients.ts';

export * from '@tensorflow/tfjs-core';
