/**
 * @file Means of per-token loss and divergence over counted positions, in float64. The per-token values can be kept:
 * they are what `unfold evaluate --per-token` writes.
 */
import type { Metrics } from './definitions.ts';

/** One position's numbers under the untouched model and its changed versions, nats; losses are NaN at a context's end. */
export interface TokenBehaviour {
  ce_loss_without_sae: number;
  ce_loss_with_sae: number;
  ce_loss_with_ablation: number;
  ce_loss_with_mean_ablation: number;
  kl_div_with_sae: number;
  kl_div_with_ablation: number;
}

/** Names of {@link TokenBehaviour}. */
export const tokenMetricNames = [
  'ce_loss_without_sae',
  'ce_loss_with_sae',
  'ce_loss_with_ablation',
  'ce_loss_with_mean_ablation',
  'kl_div_with_sae',
  'kl_div_with_ablation',
] as const satisfies (keyof TokenBehaviour)[];

/** Sums over counted positions. */
export class BehaviourAccumulator {
  #sums = new Map<keyof TokenBehaviour, { sum: number; count: number }>(
    tokenMetricNames.map((name) => [name, { sum: 0, count: 0 }]),
  );

  /** Adds one counted position; NaN entries are not counted. */
  add(token: TokenBehaviour): void {
    for (const name of tokenMetricNames) {
      if (Number.isNaN(token[name])) continue;
      const total = this.#sums.get(name)!;
      total.sum += token[name];
      total.count += 1;
    }
  }

  /** The metrics named as in definitions.ts; absent where no position had a number. */
  result(): Metrics {
    const mean = (name: keyof TokenBehaviour) => this.#sums.get(name)!.sum / this.#sums.get(name)!.count;
    const m = Object.fromEntries(
      tokenMetricNames.map((name) => [name, mean(name)]),
    ) as unknown as TokenBehaviour;
    const recovered = (floor: number) => (floor - m.ce_loss_with_sae) / (floor - m.ce_loss_without_sae);
    const all: Metrics = {
      ce_loss_score: recovered(m.ce_loss_with_ablation),
      ce_loss_score_mean_ablation: recovered(m.ce_loss_with_mean_ablation),
      kl_div_score: (m.kl_div_with_ablation - m.kl_div_with_sae) / m.kl_div_with_ablation,
      ...m,
    };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => Number.isFinite(value)));
  }
}
