/**
 * @file Claim: a TopK training step, everything included, takes at most 1.3 times its encoder's float32 product alone,
 * in less than 1 GB. Steps and products take turns, so that whatever else the machine does falls on both.
 */
import { useBackend } from '../src/tensor/backend.ts';
import { nativeInfo } from '../src/tensor/native.ts';
import type { BenchLine } from './line.ts';
import { leastSeconds } from './line.ts';
import { EncoderProduct, gpt2Small, TopKStep } from './support/topk-step.ts';

const ROUNDS = 6;

export async function run(): Promise<BenchLine[]> {
  await useBackend('native');
  const step = new TopKStep(gpt2Small);
  for (let i = 0; i < 3; i++) await step.run();
  const resident = process.memoryUsage().rss / 1e6;
  const peak = process.resourceUsage().maxRSS / 1e3;

  const product = new EncoderProduct(gpt2Small);
  product.run();
  let [seconds, stepCpu, productCpu] = [1, 1, 1].map(() => Number.POSITIVE_INFINITY) as [
    number,
    number,
    number,
  ];
  for (let i = 0; i < ROUNDS; i++) {
    seconds = Math.min(seconds, await leastSeconds(2, () => step.run()));
    stepCpu = Math.min(stepCpu, await cpuSeconds(() => step.run()));
    product.run();
    productCpu = Math.min(productCpu, await cpuSeconds(() => product.run(product.best().library)));
  }
  step.dispose();
  const best = product.best();
  const ratio = seconds / best.seconds;
  const { variant, threads } = nativeInfo();
  const machine = { backend: 'native', variant, threads, sgemm_seconds: Object.fromEntries(product.seconds) };
  return [
    {
      name: 'train-topk',
      value: round(ratio),
      bound: 1.3,
      passed: ratio <= 1.3,
      unit: 'x',
      ratio_to: product.describe(),
      detail: {
        ...gpt2Small,
        step_seconds: round(seconds),
        cpu_ratio: round(stepCpu / productCpu),
        rows_per_second: Math.round(gpt2Small.batch / seconds),
        ...machine,
      },
    },
    {
      name: 'train-topk-memory',
      value: Math.round(peak),
      bound: 1000,
      passed: peak <= 1000,
      unit: 'MB',
      ratio_to: 'nothing: peak resident memory of the process, before the product beside it is allocated',
      detail: { resident_after_three_steps_mb: Math.round(resident), ...gpt2Small },
    },
  ];
}

/** CPU seconds of one call: on a machine that others use, a fairer witness than the clock. */
async function cpuSeconds(what: () => unknown): Promise<number> {
  const start = process.cpuUsage();
  await what();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

const round = (x: number): number => Math.round(x * 1000) / 1000;
