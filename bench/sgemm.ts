/**
 * @file `npm run bench -- sgemm`: float32 products of the shapes that GPT-2 small and a 24,576-latent coder ask for, on
 * every library at hand. For reading only: these are the numbers that the other benches are ratios to.
 */
import { nativeInfo } from '../src/tensor/native.ts';
import { measureSgemm, type SgemmSpeed } from '../src/tensor/sgemm.ts';
import type { BenchLine } from './line.ts';

/** [m, k, n] of 4,096 tokens: encoder, MLP in, MLP out, queries with keys and values. */
const shapes = [
  [4096, 768, 24576],
  [4096, 768, 3072],
  [4096, 3072, 768],
  [4096, 768, 2304],
] as const;

/** The faster of the libraries on [m, k] x [k, n], each at its fastest of a few calls; undefined without the addon. */
export function bestSgemm(m: number, k: number, n: number, rounds = 6): SgemmSpeed | undefined {
  return measureSgemm({ m, k, n }, rounds)[0];
}

export async function run(): Promise<BenchLine[]> {
  const { variant, threads } = nativeInfo();
  return shapes.map(([m, k, n]) => {
    const speeds = measureSgemm({ m, k, n }, n > 4096 ? 3 : 8);
    const gflops = Object.fromEntries(speeds.map((s) => [s.library, Math.round(s.gflops)]));
    return {
      name: `sgemm [${m}, ${k}] x [${k}, ${n}]`,
      value: Math.round(speeds[0]?.gflops ?? 0),
      unit: 'GFLOP/s',
      ratio_to: 'nothing: the fastest library, which the other benches are ratios to',
      detail: { library: speeds[0]?.library, version: speeds[0]?.version, gflops, variant, threads },
    };
  });
}
