/**
 * @file The training loop: rows in, steps, counters, metrics, checkpoints. It decides nothing by the clock except when a
 * checkpoint is written, so a run that was stopped anywhere ends with the same weights as one that was not.
 */
import type { StepResult, TrainingCoder } from '../coders/training.ts';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { emptyBatch, type RowBatch, type RowStream } from '../shards/shuffle.ts';
import * as tf from '../tensor/tf.ts';
import { type RunState, saveCheckpoint } from './checkpoint.ts';
import type { LatentCounters } from './dead-latents.ts';
import { addStep, emptySums, type MetricsFile, type MetricsLine, summarise } from './metrics.ts';
import { RowPreparer } from './rows.ts';
import { learningRate, warmUpShare } from './schedule.ts';
import type { TrainSettings } from './settings.ts';

/** A run in progress. */
export interface Run {
  dir: string;
  runHash: string;
  settings: TrainSettings;
  hookNames: readonly string[];
  stream: RowStream;
  coder: TrainingCoder;
  counters: LatentCounters;
  state: RunState;
  metrics: MetricsFile;
}

/**
 * Trains to the end.
 * @returns the last line of metrics
 * @throws the signal's reason after a checkpoint, when aborted; UnfoldError `not-finite` when activations, gradients or
 *   losses stop being numbers: parameters are then those of the step before, and checkpoints are kept
 */
export async function trainToEnd(run: Run, context: StageContext): Promise<MetricsLine | undefined> {
  const { settings, state } = run;
  const rows = settings.train_batch_size_tokens;
  const total = settings.total_steps;
  const preparer = new RowPreparer(run.stream, run.hookNames, rows);
  const reader = new BatchReader(run.stream, rows);
  const clock = new CheckpointClock(settings);
  const bar = context.bar('train', total * rows, 'tokens', state.step * rows);
  let line: MetricsLine | undefined;
  let speed = new SpeedMeter(state.step * rows);
  try {
    while (state.step < total) {
      if (context.signal.aborted) await stop(run, context);
      const batch = await reader.next(state.position, state.step + 1 < total);
      const lr = await oneStep(run, preparer, batch);
      if (state.step % settings.log_every_steps === 0 || state.step === total) {
        line = await logLine(run, lr, speed);
        bar.update(state.step * rows, noteOf(line));
        speed = new SpeedMeter(state.step * rows);
      } else bar.update(state.step * rows);
      if (clock.isDue(state.step)) await checkpoint(run, clock.isKept(state.step));
    }
    bar.finish(line && noteOf(line));
    return line;
  } catch (error) {
    bar.finish('stopped');
    throw error;
  } finally {
    await reader.drain();
  }
}

async function oneStep(run: Run, preparer: RowPreparer, batch: RowBatch): Promise<number> {
  const { settings, state, coder, counters } = run;
  const t = state.step;
  const prepared = preparer.prepare(batch, state.scale, t + 1);
  const lr = learningRate(settings, t, settings.total_steps);
  const unit = settings.dead_feature_window_unit === 'steps' ? batch.rows : 1;
  const x = tf.tensor2d(prepared.values, [batch.rows, preparer.width], 'float32');
  const result = await coder.step(
    { x },
    {
      adam: {
        lr,
        beta1: settings.adam_beta1,
        beta2: settings.adam_beta2,
        eps: settings.adam_eps,
        step: t + 1,
      },
      max_grad_norm: settings.max_grad_norm ?? Number.POSITIVE_INFINITY,
      coefficient: warmUpShare(t, settings.l1_warm_up_steps),
      dead: counters.dead(settings.dead_feature_window * unit),
    },
  );
  x.dispose();
  if (!result.applied) throw diverged(run, batch, result);
  counters.add(result.fired, batch.rows);
  addStep(state.sums, batch.rows, result, prepared);
  state.step++;
  state.position += batch.rows;
  return lr;
}

async function logLine(run: Run, lr: number, speed: SpeedMeter): Promise<MetricsLine> {
  const { settings, state, counters } = run;
  const unit = settings.dead_feature_window_unit === 'steps' ? settings.train_batch_size_tokens : 1;
  const tokens = state.step * settings.train_batch_size_tokens;
  const line: MetricsLine = {
    step: state.step,
    tokens,
    ...summarise(state.sums),
    dead_latents: counters.dead(settings.dead_feature_window * unit).length,
    lr,
    tokens_per_second: Math.round(speed.rate(tokens)),
  };
  await run.metrics.append(line);
  state.sums = emptySums(state.sums.sum.length);
  state.metricsBytes = run.metrics.bytes;
  return line;
}

const noteOf = (line: MetricsLine): string =>
  `loss ${line.loss.toPrecision(4)}  L0 ${line.l0.toFixed(1)}  EV ${line.explained_variance.toFixed(3)}  dead ${line.dead_latents}`;

/** Saves what there is and ends the run in order. */
async function stop(run: Run, context: StageContext): Promise<never> {
  if (run.state.step > 0) await checkpoint(run, false);
  context.note(`stopped at step ${run.state.step}; the same command goes on from there`);
  throw context.signal.reason;
}

async function checkpoint(run: Run, keep: boolean): Promise<void> {
  await run.metrics.sync();
  const { dir, runHash, coder, counters, state } = run;
  await saveCheckpoint(dir, runHash, { coder, counters, state, keep });
}

function diverged({ state, hookNames }: Run, batch: RowBatch, { losses, gradNorm }: StepResult): UnfoldError {
  const terms = Object.entries(losses).filter(([, value]) => !Number.isFinite(value));
  const found = terms.length
    ? terms.map(([term, value]) => `${term} = ${value}`).join(', ')
    : `a gradient of norm ${gradNorm}`;
  return new UnfoldError('not-finite', {
    where: `training step ${state.step + 1}, ${hookNames.join(' and ')}, batch of ${batch.rows} rows from position ${state.position} (contexts ${batch.seqId[0]}, ${batch.seqId[1] ?? ''}, …)`,
    expected: 'finite losses and gradients',
    found: `${found}; the step was not applied`,
    todo: 'lower lr or the sparsity coefficient (a new --out), or warm them up; earlier checkpoints are kept',
  });
}

/** Reads one batch ahead into two buffers that take turns. */
class BatchReader {
  readonly #stream: RowStream;
  readonly #buffers: [RowBatch, RowBatch];
  #ahead: { position: number; batch: Promise<RowBatch> } | undefined;
  #turn = 0;

  constructor(stream: RowStream, rows: number) {
    this.#stream = stream;
    this.#buffers = [emptyBatch(stream.hooks, rows), emptyBatch(stream.hooks, rows)];
  }

  async next(position: number, hasMore: boolean): Promise<RowBatch> {
    const batch = await (this.#ahead?.position === position ? this.#ahead.batch : this.#read(position));
    this.#ahead = undefined;
    if (hasMore) {
      const following = position + batch.rows;
      const promise = this.#read(following);
      promise.catch(() => undefined);
      this.#ahead = { position: following, batch: promise };
    }
    return batch;
  }

  /** Waits for a read that nobody will use. */
  async drain(): Promise<void> {
    await this.#ahead?.batch.catch(() => undefined);
  }

  #read(position: number): Promise<RowBatch> {
    this.#turn = 1 - this.#turn;
    const buffer = this.#buffers[this.#turn]!;
    return this.#stream.read(position, buffer.rows, buffer);
  }
}

/** When to write a checkpoint. */
class CheckpointClock {
  readonly #settings: TrainSettings;
  #last = performance.now();

  constructor(settings: TrainSettings) {
    this.#settings = settings;
  }

  isDue(step: number): boolean {
    const { checkpoint_every_minutes: minutes, checkpoint_every_steps: every, total_steps } = this.#settings;
    if (step >= total_steps) return false;
    const isTime = minutes !== null && performance.now() - this.#last > minutes * 60_000;
    const isDue = isTime || (every !== null && step % every === 0) || this.isKept(step);
    if (isDue) this.#last = performance.now();
    return isDue;
  }

  /** One of the n_checkpoints that stay. */
  isKept(step: number): boolean {
    const { n_checkpoints: n, total_steps: total } = this.#settings;
    return Array.from({ length: n }, (_, i) => Math.round(((i + 1) * total) / (n + 1))).includes(step);
  }
}

class SpeedMeter {
  readonly #start = performance.now();
  readonly #from: number;

  constructor(tokens: number) {
    this.#from = tokens;
  }

  rate(tokens: number): number {
    return (tokens - this.#from) / Math.max(1e-6, (performance.now() - this.#start) / 1000);
  }
}
