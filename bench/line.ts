/** @file What a bench reports: one claim, one number, what it is a ratio to, and whether it holds. */

/** One JSON line of `npm run bench`. */
export interface BenchLine {
  name: string;
  /** The measured number; a ratio wherever machines differ. */
  value: number;
  /** The most (or least, see `detail`) it may be; absent where the line is for comparison only. */
  bound?: number;
  /** Whether the bound is kept; absent without one. */
  passed?: boolean;
  /** `x` for ratios, `MB`, `MB/s`, … */
  unit: string;
  /** What was measured beside it in the same run: "float32 sgemm [4096, 768] x [768, 24576], oneDNN 2.6.3, 2 threads". */
  ratio_to: string;
  /** Everything needed to read the number: sizes, seconds, backend, threads. */
  detail: Record<string, unknown>;
}

/** The least of several runs, in seconds: other work on the machine only ever adds. */
export async function leastSeconds(runs: number, what: () => unknown): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    await what();
    least = Math.min(least, (performance.now() - start) / 1000);
  }
  return least;
}
