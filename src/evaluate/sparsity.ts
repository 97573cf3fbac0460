/**
 * @file Which latents fire, how often and how hard: L0, L1, density of every latent, dead and dense ones. Counts are
 * exact and sums float64, so the cut into batches changes nothing.
 */
import type { Metrics } from './definitions.ts';
import type { SparseRows } from './sparse-rows.ts';

/** Densities on a logarithmic scale: bin i holds log10(density) in [edges[i], edges[i + 1]). */
export interface DensityHistogram {
  log10_edges: number[];
  counts: number[];
  /** Latents with density 0, which have no logarithm. */
  never_fired: number;
}

/** What is known of every latent, each [d_sae]. */
export interface LatentStatistics {
  /** Share of counted rows where a != 0. */
  feature_density: Float32Array;
  /** Active rows / contexts with at least one active row (SAELens's name); NaN where it never fired. */
  consistent_activation_heuristic: Float32Array;
  /** Largest activation; 0 where it never fired. */
  max_activation: Float32Array;
  /** Mean activation over the rows where it fired; NaN where it never fired. */
  mean_activation: Float32Array;
}

/** Counts over rows of sparse activations. */
export class SparsityAccumulator {
  readonly d_sae: number;
  #rows = 0;
  #l0 = 0;
  #l1 = 0;
  #fired: Float64Array;
  #sum: Float64Array;
  #max: Float32Array;
  #contexts: Float64Array;
  #lastContext: Float64Array;

  constructor(d_sae: number) {
    this.d_sae = d_sae;
    this.#fired = new Float64Array(d_sae);
    this.#sum = new Float64Array(d_sae);
    this.#max = new Float32Array(d_sae);
    this.#contexts = new Float64Array(d_sae);
    this.#lastContext = new Float64Array(d_sae).fill(-1);
  }

  /** Rows counted so far. */
  get rows(): number {
    return this.#rows;
  }

  /**
   * Adds rows; `contextOf[row]` is the index of the context a row comes from. The rows of one context follow one
   * another (they may be cut over several calls).
   */
  add(acts: SparseRows, contextOf: ArrayLike<number>): void {
    for (let row = 0; row < acts.rows; row++) {
      const [start, end] = [acts.starts[row]!, acts.starts[row + 1]!];
      this.#l0 += end - start;
      for (let at = start; at < end; at++) this.#addOne(acts.indices[at]!, acts.values[at]!, contextOf[row]!);
    }
    this.#rows += acts.rows;
  }

  #addOne(latent: number, value: number, context: number): void {
    this.#l1 += Math.abs(value);
    this.#fired[latent]! += 1;
    this.#sum[latent]! += value;
    if (Math.abs(value) > Math.abs(this.#max[latent]!)) this.#max[latent] = value;
    if (this.#lastContext[latent] === context) return;
    this.#lastContext[latent] = context;
    this.#contexts[latent]! += 1;
  }

  /** The metrics named as in definitions.ts; empty when no row was added. */
  result(): Metrics {
    const n = this.#rows;
    if (n === 0) return {};
    const count = (test: (fired: number) => boolean) =>
      this.#fired.reduce((sum, f) => sum + (test(f) ? 1 : 0), 0);
    const n_dead = count((fired) => fired === 0);
    const over1 = count((fired) => fired / n > 0.01);
    const over10 = count((fired) => fired / n > 0.1);
    return {
      l0: this.#l0 / n,
      l1: this.#l1 / n,
      n_dead,
      frac_alive: 1 - n_dead / this.d_sae,
      n_dense_over_1_percent: over1,
      n_dense_over_10_percent: over10,
      freq_over_1_percent: over1 / this.d_sae,
      freq_over_10_percent: over10 / this.d_sae,
    };
  }

  /** Per latent, each [d_sae]. */
  latents(): LatentStatistics {
    const n = Math.max(this.#rows, 1);
    return {
      feature_density: Float32Array.from(this.#fired, (fired) => fired / n),
      consistent_activation_heuristic: Float32Array.from(
        this.#fired,
        (fired, i) => fired / this.#contexts[i]!,
      ),
      max_activation: this.#max.slice(),
      mean_activation: Float32Array.from(this.#sum, (sum, i) => sum / this.#fired[i]!),
    };
  }

  /** Bins a quarter of a decade wide from 1e-6 to 1; rarer latents go into the first. */
  histogram(): DensityHistogram {
    const edges = Array.from({ length: 25 }, (_, i) => -6 + i / 4);
    const counts = new Array<number>(24).fill(0);
    let never_fired = 0;
    for (const fired of this.#fired) {
      if (fired === 0) never_fired++;
      else counts[Math.max(0, Math.min(23, Math.floor((Math.log10(fired / this.#rows) + 6) * 4)))]! += 1;
    }
    return { log10_edges: edges, counts, never_fired };
  }
}
