/**
 * @file What is said about a run while it goes: sums over the steps since the last line, and the file metrics.jsonl. A
 * line holds means over its window; explained variance is pooled over the window's rows, 1 - Σ e² / Σ (x - x̄)², so it does
 * not depend on how rows fall into batches.
 */
import { type FileHandle, open } from 'node:fs/promises';
import type { StepResult } from '../coders/training.ts';
import { explainDisk } from '../files.ts';

/** One line of metrics.jsonl. */
export interface MetricsLine {
  /** Steps done. */
  step: number;
  /** Rows seen. */
  tokens: number;
  loss: number;
  /** Mean number of active latents a row. */
  l0: number;
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
  /** Σ over rows of ||x||², and Σ x [width]. */
  squares: number;
  sum: number[];
}

export function emptySums(width: number): WindowSums {
  return {
    steps: 0,
    rows: 0,
    losses: {},
    loss: 0,
    gradNorm: 0,
    active: 0,
    squaredError: 0,
    squares: 0,
    sum: new Array<number>(width).fill(0),
  };
}

/** Adds a step. `target`: Σ x and Σ ||x||² of the batch. */
export function addStep(
  sums: WindowSums,
  rows: number,
  result: StepResult,
  target: { sum: Float64Array; squares: number },
): void {
  sums.steps++;
  sums.rows += rows;
  sums.loss += result.loss;
  sums.gradNorm += result.gradNorm;
  sums.squaredError += result.squaredError;
  sums.squares += target.squares;
  for (let i = 0; i < sums.sum.length; i++) sums.sum[i] = sums.sum[i]! + target.sum[i]!;
  for (const [term, value] of Object.entries(result.losses))
    sums.losses[term] = (sums.losses[term] ?? 0) + value;
  for (let i = 0; i < result.fired.length; i++) sums.active += result.fired[i]!;
}

/** Means over the window. */
export function summarise(
  sums: WindowSums,
): Pick<MetricsLine, 'loss' | 'l0' | 'explained_variance' | 'grad_norm'> & Record<string, number> {
  const { steps, rows } = sums;
  const variance = sums.squares - sums.sum.reduce((total, s) => total + s * s, 0) / rows;
  const terms = Object.entries(sums.losses).map(([term, value]) => [term, value / steps]);
  return {
    loss: sums.loss / steps,
    ...Object.fromEntries(terms),
    l0: sums.active / rows,
    explained_variance: 1 - sums.squaredError / variance,
    grad_norm: sums.gradNorm / steps,
  };
}

/** metrics.jsonl, cut to what a checkpoint knows when a run goes on. */
export class MetricsFile {
  readonly #file: FileHandle;
  readonly #path: string;
  #bytes: number;

  private constructor(path: string, file: FileHandle, bytes: number) {
    this.#path = path;
    this.#file = file;
    this.#bytes = bytes;
  }

  /** Opens `path`; what lies beyond `bytes` was written after the checkpoint and is cut off. */
  static async open(path: string, bytes: number): Promise<MetricsFile> {
    const file = await open(path, 'a+');
    await file.truncate(bytes);
    return new MetricsFile(path, file, bytes);
  }

  /** Length of what has been written. */
  get bytes(): number {
    return this.#bytes;
  }

  async append(line: MetricsLine): Promise<void> {
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
