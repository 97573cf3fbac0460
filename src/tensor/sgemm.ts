/**
 * @file How fast this machine multiplies float32 matrices, by library. Every speed that Unfold states is a ratio to the
 * best of these numbers, taken in the same run.
 */
import { type BlasName, nativeAddon, nativeInfo } from './native.ts';

/** One library's speed on one shape. */
export interface SgemmSpeed {
  library: BlasName;
  version: string;
  /** 2·m·n·k floating point operations a call, the fastest call: 10⁹ a second. */
  gflops: number;
  /** Seconds of the fastest call. */
  seconds: number;
}

/** A product [m, k]·[k, n], or with `transB` [m, k]·[n, k]ᵀ. */
export interface SgemmShape {
  m: number;
  n: number;
  k: number;
  transB?: boolean;
}

/**
 * Measures every library that the native addon found, in turns, so that a disturbance meets all of them.
 * @param shape default 1024 × 1024 × 1024
 * @param rounds calls of each after one to warm up; the fastest counts
 * @returns fastest first; empty without the addon
 */
export function measureSgemm(shape: SgemmShape = { m: 1024, n: 1024, k: 1024 }, rounds = 8): SgemmSpeed[] {
  const addon = nativeAddon();
  if (!addon) return [];
  const { m, n, k, transB = false } = shape;
  const a = filled(m * k);
  const b = filled(k * n);
  const c = new Float32Array(m * n);
  const libraries = nativeInfo().libraries ?? [];
  const best = libraries.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round <= rounds; round++) {
    for (const [i, { name }] of libraries.entries()) {
      const start = performance.now();
      addon.sgemm(false, transB, m, n, k, a, k, b, transB ? k : n, c, n, false, name);
      const seconds = (performance.now() - start) / 1000;
      if (round > 0) best[i] = Math.min(best[i]!, seconds);
    }
  }
  return libraries
    .map(({ name, version }, i) => {
      const seconds = best[i]!;
      return { library: name, version: version ?? '', seconds, gflops: (2 * m * n * k) / seconds / 1e9 };
    })
    .sort((one, other) => one.seconds - other.seconds);
}

/** Values between -1 and 1 that are neither equal nor denormal. */
function filled(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => ((i * 2654435761) % 1024) / 512 - 1);
}
