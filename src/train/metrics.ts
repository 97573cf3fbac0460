/**
 * @file What is said about a run while it goes: sums over the steps since the last line, and the file metrics.jsonl. A
 * line holds means over its window; explained variance is pooled over the window's rows, 1 - Σ e² / Σ (x - x̄)², so it does
 * not depend on how rows fall into batches. Where several targets stand side by side, each has its own besides the pooled
 * one.
 */

import { type FileHandle, open } from 'node:fs/promises';
import type { StepResult } from '../coders/training.ts';
import { explainedVariance } from '../explained-variance.ts';
import { explainDisk, writeFileAtomically } from '../files.ts';
import type { HookWidth } from '../shards/block-source.ts';
import { assertMayPublish } from '../write-guard.ts';
import { widthOf } from './hooks.ts';
import type { TargetSums } from './rows.ts';

/** One line of metrics.jsonl. */
export interface MetricsLine {
  /** Steps done. */
  step: number;
  /** Rows seen. */
  tokens: number;
  loss: number;
  /** Mean number of active latents a row. */
  l0: number;
  /** Pooled over all targets; beside it `explained_variance/HOOK` where there are several. */
  explained_variance: number;
  /** Latents not active within the dead window. */
  dead_latents: number;
  lr: number;
  /** Before clipping. */
  grad_norm: number;
  tokens_per_second: number;
  /** The terms of the loss under SAELens's names. */
  [term: string]: number;
}

/** Sums over a window; plain numbers, so that a checkpoint keeps them exactly. */
export interface WindowSums {
  steps: number;
  rows: number;
  losses: Record<string, number>;
  loss: number;
  gradNorm: number;
  active: number;
  squaredError: number;
  /** The same for each target, as far as the coder tells; empty where there is only one. */
  squaredErrors: number[];
  /** Σ over rows of ||y||² for each target, and Σ y [width of all]. */
  squares: number[];
  sum: number[];
}

/** Sums at the beginning of a window, for targets of these widths. */
export function emptySums(targets: readonly Pick<HookWidth, 'width'>[]): WindowSums {
  return {
    steps: 0,
    rows: 0,
    losses: {},
    loss: 0,
    gradNorm: 0,
    active: 0,
    squaredError: 0,
    squaredErrors: [],
    squares: targets.map(() => 0),
    sum: new Array<number>(targets.reduce((total, { width }) => total + width, 0)).fill(0),
  };
}

/** Adds a step. `target`: the sums of what the batch was to be predicted. */
export function addStep(sums: WindowSums, rows: number, result: StepResult, target: TargetSums): void {
  sums.steps++;
  sums.rows += rows;
  sums.loss += result.loss;
  sums.gradNorm += result.gradNorm;
  sums.squaredError += result.squaredError;
  result.squaredErrors?.forEach((error, i) => {
    sums.squaredErrors[i] = (sums.squaredErrors[i] ?? 0) + error;
  });
  sums.squares = sums.squares.map((total, i) => total + target.squares[i]!);
  for (let i = 0; i < sums.sum.length; i++) sums.sum[i] = sums.sum[i]! + target.sum[i]!;
  for (const [term, value] of Object.entries({ ...result.losses, ...result.observed }))
    sums.losses[term] = (sums.losses[term] ?? 0) + value;
  for (let i = 0; i < result.fired.length; i++) sums.active += result.fired[i]!;
}

/** Means over the window; `targets` are the hooks that {@link emptySums} was given. */
export function summarise(
  sums: WindowSums,
  targets: readonly HookWidth[],
): Pick<MetricsLine, 'loss' | 'l0' | 'explained_variance' | 'grad_norm'> & Record<string, number> {
  const { steps, rows } = sums;
  const terms = Object.entries(sums.losses).map(([term, value]) => [term, value / steps]);
  return {
    loss: sums.loss / steps,
    ...Object.fromEntries(terms),
    l0: sums.active / rows,
    explained_variance: explainedVariance(sums.squaredError / rows, pooledVariance(sums) / rows),
    ...explainedByTarget(sums, targets),
    grad_norm: sums.gradNorm / steps,
  };
}

/** Σ (y - ȳ)² over the window's rows and all targets. */
function pooledVariance({ squares, sum, rows }: WindowSums): number {
  const total = squares.reduce((all, square) => all + square, 0);
  return total - sum.reduce((all, s) => all + s * s, 0) / rows;
}

function explainedByTarget(
  { squaredErrors, squares, sum, rows }: WindowSums,
  targets: readonly HookWidth[],
): Record<string, number> {
  if (squaredErrors.length < 2) return {};
  const entries = targets.map(({ name, width }, i) => {
    const from = widthOf(targets.slice(0, i));
    const means = sum.slice(from, from + width).reduce((all, s) => all + s * s, 0) / rows;
    const explained = explainedVariance(squaredErrors[i]! / rows, (squares[i]! - means) / rows);
    return [`explained_variance/${name}`, explained];
  });
  return Object.fromEntries(entries);
}

/** Name of the file in a run's folder. */
export const METRICS_FILE = 'metrics.jsonl';

/** metrics.jsonl, brought to what a checkpoint knows when a run goes on. */
export class MetricsFile {
  readonly #file: FileHandle;
  readonly #path: string;
  #bytes: number;

  private constructor(path: string, file: FileHandle, bytes: number) {
    this.#path = path;
    this.#file = file;
    this.#bytes = bytes;
  }

  /**
   * Begins `path` anew with `lines`, those that a checkpoint knows of: whatever was written after it is dropped, whatever
   * became of the others is mended. It is a new file, for the old one may have a name elsewhere (jobs/elsewhere.ts).
   */
  static async open(path: string, lines: Uint8Array): Promise<MetricsFile> {
    await writeFileAtomically(path, lines);
    return new MetricsFile(path, await open(path, 'a'), lines.length);
  }

  /** Length of what has been written. */
  get bytes(): number {
    return this.#bytes;
  }

  async append(line: MetricsLine): Promise<void> {
    assertMayPublish();
    const text = Buffer.from(`${JSON.stringify(line)}\n`);
    try {
      await this.#file.appendFile(text);
    } catch (error) {
      throw explainDisk(error, this.#path);
    }
    this.#bytes += text.length;
  }

  /** Makes what has been written survive a power cut: before a checkpoint refers to it. */
  async sync(): Promise<void> {
    await this.#file.sync();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
