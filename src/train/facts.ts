/**
 * @file The numbers that a training loop tells whoever watches from afar: the last line of metrics of every coder, told
 * once, when it is new. Several coders' names are put in front: `k16/loss`.
 */
import type { MetricsLine } from './metrics.ts';

/** What is told of a line; the file metrics.jsonl has all of it. */
const TOLD = [
  'step',
  'tokens',
  'loss',
  'l0',
  'explained_variance',
  'dead_latents',
  'lr',
  'grad_norm',
  'kl_div_with_sae',
  'ce_loss_with_sae',
] as const;

/** A coder in training, as far as its numbers go. */
export interface Reporting {
  readonly run: { readonly name?: string };
  readonly line: MetricsLine | undefined;
}

/** Tells every line once. */
export class FactReporter {
  readonly #coders: readonly Reporting[];
  readonly #told: (MetricsLine | undefined)[];

  constructor(coders: readonly Reporting[]) {
    this.#coders = coders;
    this.#told = coders.map(({ line }) => line);
  }

  /** What is new since the last call; undefined if nothing is. */
  next(): Record<string, number> | undefined {
    let facts: Record<string, number> | undefined;
    for (const [i, { run, line }] of this.#coders.entries()) {
      if (line === undefined || line === this.#told[i]) continue;
      this.#told[i] = line;
      const prefix = this.#coders.length > 1 ? `${run.name}/` : '';
      facts ??= {};
      for (const name of TOLD) if (line[name] !== undefined) facts[`${prefix}${name}`] = line[name];
    }
    return facts;
  }
}
