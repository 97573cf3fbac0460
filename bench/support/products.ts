/**
 * @file The float32 products of a GPT-2 block by themselves: the bound that a forward pass is measured against. Each
 * shape is timed with every BLAS that was found and the fastest counts.
 */
import type { GPT2Config } from '../../src/model/config.ts';
import { nativeAddon, nativeInfo } from '../../src/tensor/native.ts';

/** A product [m, k] x [k, n], `times` of them in one block. */
interface Shape {
  n: number;
  k: number;
  times: number;
}

/** The matrix products of one block on `rows` tokens. */
export class BlockProducts {
  readonly #rows: number;
  readonly #shapes: readonly Shape[];
  readonly #a: Float32Array;
  readonly #b: Float32Array;
  readonly #c: Float32Array;
  /** Least seconds so far: shape -> library -> seconds. */
  readonly #least: Map<string, number>[];
  readonly #leastCpu: number[];

  constructor({ d_model, d_mlp }: GPT2Config, rows: number) {
    this.#rows = rows;
    this.#shapes = [
      { n: d_model, k: d_model, times: 4 },
      { n: d_mlp, k: d_model, times: 1 },
      { n: d_model, k: d_mlp, times: 1 },
    ];
    this.#a = new Float32Array(rows * d_mlp).fill(0.5);
    this.#b = new Float32Array(d_model * d_mlp).fill(0.25);
    this.#c = new Float32Array(rows * d_mlp);
    this.#least = this.#shapes.map(() => new Map());
    this.#leastCpu = this.#shapes.map(() => Number.POSITIVE_INFINITY);
  }

  /** Times every shape once with every library. */
  run(): void {
    const addon = nativeAddon();
    if (!addon) throw new Error('the native kernels are not built: npm run build:native');
    const fast = (nativeInfo().libraries ?? []).map(({ name }) => name).filter((name) => name !== 'own');
    this.#shapes.forEach(({ n, k }, i) => {
      for (const library of fast.length ? fast : ['own']) {
        const before = process.cpuUsage();
        const begin = performance.now();
        addon.sgemm(false, false, this.#rows, n, k, this.#a, k, this.#b, n, this.#c, n, false, library);
        const seconds = (performance.now() - begin) / 1000;
        const { user, system } = process.cpuUsage(before);
        this.#least[i]!.set(library, Math.min(seconds, this.#least[i]!.get(library) ?? seconds));
        this.#leastCpu[i] = Math.min((user + system) / 1e6, this.#leastCpu[i]!);
      }
    });
  }

  /** Floating-point operations of the products of one block. */
  get flop(): number {
    return this.#shapes.reduce((sum, { n, k, times }) => sum + 2 * this.#rows * n * k * times, 0);
  }

  /** Least seconds that the products of one block take. */
  get seconds(): number {
    return this.#shapes.reduce((sum, { times }, i) => sum + times * Math.min(...this.#least[i]!.values()), 0);
  }

  /** Least processor seconds of the products of one block, all threads together. */
  get cpuSeconds(): number {
    return this.#shapes.reduce((sum, { times }, i) => sum + times * this.#leastCpu[i]!, 0);
  }

  /** GFLOP/s of each shape and library. */
  detail(): Record<string, Record<string, number>> {
    const rate = ({ n, k }: Shape, seconds: number) => Math.round((2 * this.#rows * n * k) / seconds / 1e9);
    const entries = this.#shapes.map((shape, i) => {
      const rates = [...this.#least[i]!].map(([library, seconds]) => [library, rate(shape, seconds)]);
      return [`[${this.#rows}, ${shape.k}] x [${shape.k}, ${shape.n}]`, Object.fromEntries(rates)];
    });
    return Object.fromEntries(entries);
  }
}
