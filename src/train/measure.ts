/**
 * @file What the first rows say about the data: the scale of each hook and where biases begin. Rows are read from the
 * start of the stream without being used up (training begins at position 0), so the numbers depend on rows and order
 * alone. Each hook is measured by itself: a hook has the same scale beside others as alone.
 */

import type { Normalization } from '../coders/config.ts';
import { normalizeRows } from '../coders/rows.ts';
import type { CoderHooks } from '../coders/training.ts';
import type { HookWidth } from '../shards/block-source.ts';
import type { RowBatch, RowStream } from '../shards/shuffle.ts';
import { numbersOf } from '../tensor/numbers.ts';
import * as tf from '../tensor/tf.ts';
import { targetsOf } from './hooks.ts';
import { geometricMedian, meanRow } from './initialise.ts';
import { type HookScales, RowPreparer } from './rows.ts';
import { usableScale } from './scale.ts';
import { CovarianceSums, type WhiteningMap, whiteningOf } from './whitening.ts';

/** What is wanted of the rows. */
export interface MeasureOptions {
  /** Rows to read. */
  rows: number;
  centre: 'zeros' | 'mean' | 'geometric_median';
  normalization: Normalization;
}

/** What the first rows of one hook say. */
export interface HookMeasure {
  /** sqrt(width) / mean norm; infinite where all rows are 0. */
  scale: number;
  /** Where b_dec starts: in the space of normalised rows for layer_norm and constant_norm_rescale, else before scaling. */
  centre: Float32Array;
  /** The mean row, in the same space. */
  mean: Float32Array;
}

/** Rows whose median is looked for; OpenAI takes as many. */
const MEDIAN_ROWS = 32_768;
/** What the kept rows of all hooks together may take, bytes. */
const KEPT_BYTES = 512 * 2 ** 20;

/** Reads the first rows of the stream and measures each hook. */
export async function measureRows(
  stream: RowStream,
  hookNames: readonly string[],
  options: MeasureOptions,
): Promise<Map<string, HookMeasure>> {
  const rows = Math.min(options.rows, stream.rows);
  const piece = Math.min(rows, 4096);
  const hooks = hookNames.map((name) => stream.hooks.find((hook) => hook.name === name)!);
  const room = Math.floor(KEPT_BYTES / hooks.reduce((sum, { width }) => sum + 4 * width, 0));
  const kept = Math.min(rows, MEDIAN_ROWS, room);
  const gatherers = hooks.map((hook) => new HookGatherer(hook, piece, kept));
  for (let seen = 0; seen + piece <= rows; seen += piece) {
    const batch = await stream.read(seen, piece);
    for (const gatherer of gatherers) gatherer.add(batch);
  }
  return new Map(gatherers.map((gatherer) => [gatherer.name, gatherer.measure(options)]));
}

/** Collects norms, and the rows that a centre is looked for in. */
class HookGatherer {
  readonly name: string;
  readonly #width: number;
  readonly #preparer: RowPreparer;
  readonly #kept: Float32Array;
  #norms = 0;
  #seen = 0;

  constructor(hook: HookWidth, piece: number, kept: number) {
    this.name = hook.name;
    this.#width = hook.width;
    this.#preparer = new RowPreparer([hook], piece);
    this.#kept = new Float32Array(kept * hook.width);
  }

  add(batch: RowBatch): void {
    const { values } = this.#preparer.prepare(batch, [1], 0);
    this.#norms += sumOfNorms(values, this.#width);
    const at = this.#seen * this.#width;
    if (at < this.#kept.length) this.#kept.set(values.subarray(0, this.#kept.length - at), at);
    this.#seen += batch.rows;
  }

  measure({ centre, normalization }: MeasureOptions): HookMeasure {
    const width = this.#width;
    const filled = this.#kept.subarray(0, Math.min(this.#kept.length, this.#seen * width));
    const used = normalizedRows(filled, width, normalization);
    const mean = meanRow(used, width);
    return {
      scale: Math.sqrt(width) / (this.#norms / this.#seen),
      centre: Float32Array.from(centreOf(used, width, centre, mean)),
      mean: Float32Array.from(mean),
    };
  }
}

function centreOf(
  rows: Float32Array,
  width: number,
  kind: MeasureOptions['centre'],
  mean: Float64Array,
): Float64Array {
  if (kind === 'zeros') return new Float64Array(width);
  return kind === 'mean' ? mean : geometricMedian(rows, width);
}

/** Rows in the space where b_dec lives. */
function normalizedRows(rows: Float32Array, width: number, kind: Normalization): Float32Array {
  return numbersOf(() => normalizeRows(tf.tensor2d(rows, [rows.length / width, width]), kind).rows);
}

function sumOfNorms(values: Float32Array, width: number): number {
  let total = 0;
  for (let at = 0; at < values.length; at += width) {
    let square = 0;
    for (let j = 0; j < width; j++) square += values[at + j]! ** 2;
    total += Math.sqrt(square);
  }
  return total;
}

/** The map for a hook, from the first rows of the stream. */
export async function measureWhitening(
  stream: RowStream,
  hook: HookWidth,
  wanted: number,
): Promise<WhiteningMap> {
  const rows = Math.min(wanted, stream.rows);
  const piece = Math.min(rows, 4096);
  const preparer = new RowPreparer([hook], piece);
  const sums = new CovarianceSums(hook.width);
  for (let seen = 0; seen + piece <= rows; seen += piece)
    sums.add(preparer.prepare(await stream.read(seen, piece), [1], 0).values);
  return whiteningOf(sums.mean(), sums.covariance());
}

/** What a run begins with: scales, and the centre and mean of inputs and of targets, in the space that is trained in. */
export interface DataStatistics {
  scales: HookScales;
  /** x: [width of the inputs]; y: [width of the targets], those of x where it is its own target. */
  centre: { x: Float32Array; y: Float32Array };
  mean: { x: Float32Array; y: Float32Array };
}

/** Puts the measures of a run's hooks side by side. @param scaled false: every scale is 1 */
export function dataStatistics(
  hooks: CoderHooks,
  measures: ReadonlyMap<string, HookMeasure>,
  scaled: boolean,
): DataStatistics {
  const of = ({ name }: HookWidth) => measures.get(name)!;
  const scaleOf = (hook: HookWidth) => (scaled ? usableScale(hook, of(hook).scale) : 1);
  const joined = (side: readonly HookWidth[], what: 'centre' | 'mean') =>
    Float32Array.from(
      side.flatMap((hook) => Array.from(of(hook)[what].map((value) => value * scaleOf(hook)))),
    );
  const targets = targetsOf(hooks);
  return {
    scales: { in: hooks.in.map(scaleOf), out: hooks.out.map(scaleOf) },
    centre: { x: joined(hooks.in, 'centre'), y: joined(targets, 'centre') },
    mean: { x: joined(hooks.in, 'mean'), y: joined(targets, 'mean') },
  };
}
