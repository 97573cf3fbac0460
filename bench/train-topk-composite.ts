/**
 * @file For comparison, no bound: the same training step with every kernel of ours as its composite in plain tfjs ops,
 * on `native` and, where it is installed, on `tensorflow`. A smaller batch: the composites hold [batch, d_sae].
 */
import { useBackend } from '../src/tensor/backend.ts';
import { nativeInfo } from '../src/tensor/native.ts';
import * as tf from '../src/tensor/tf.ts';
import type { BenchLine } from './line.ts';
import { leastSeconds } from './line.ts';
import { EncoderProduct, gpt2Small, TopKStep } from './support/topk-step.ts';

const sizes = { ...gpt2Small, batch: 1024 };

/** Takes our own kernels away from a backend; their composites take their place. */
function forgetKernels(backend: string): void {
  for (const { kernelName } of tf.getKernelsForBackend(backend)) {
    if (kernelName.startsWith('Unfold')) tf.unregisterKernel(kernelName, backend);
  }
}

async function line(backend: 'native' | 'tensorflow'): Promise<BenchLine> {
  await useBackend(backend);
  forgetKernels(backend);
  const step = new TopKStep(sizes);
  await step.run();
  const product = new EncoderProduct(sizes);
  product.run();
  let seconds = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i++) {
    seconds = Math.min(seconds, await leastSeconds(1, () => step.run()));
    product.run();
  }
  step.dispose();
  return {
    name: `train-topk-composite-${backend}`,
    value: Math.round((seconds / product.best().seconds) * 100) / 100,
    unit: 'x',
    ratio_to: product.describe(),
    detail: {
      ...sizes,
      note: 'batch 1024 instead of 4096: the composite holds [batch, d_sae] several times',
      step_seconds: seconds,
      backend,
      threads: nativeInfo().threads,
      peak_rss_mb: Math.round(process.resourceUsage().maxRSS / 1e3),
    },
  };
}

export async function run(): Promise<BenchLine[]> {
  const lines = [await line('native')];
  try {
    lines.push(await line('tensorflow'));
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    process.stderr.write(`train-topk-composite: no line for tensorflow (${reason})\n`);
  }
  return lines;
}
