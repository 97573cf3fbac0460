/**
 * @file The training loop: rows in, steps, counters, metrics, checkpoints, for one coder or for several that read the
 * same rows. Each batch goes to every run that stands at its position; a run that was stopped earlier than the others
 * catches up alone, then they go on together. No run sees anything of another, so each ends as it would have alone. The
 * loop decides nothing by the clock except when a checkpoint is written, so a run that was stopped anywhere ends with the
 * same weights as one that was not.
 */
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import type { RowBatch, RowStream } from '../shards/shuffle.ts';
import { BatchReader } from './batch-reader.ts';
import { FactReporter } from './facts.ts';
import type { MetricsLine } from './metrics.ts';
import { BatchPreparer } from './rows.ts';
import type { Run } from './run.ts';
import { Trainer } from './trainer.ts';

/** How a run came out of the loop. */
export interface RunEnd {
  /** The last line of metrics written here. */
  line?: MetricsLine;
  /** `not-finite`: the run stopped before its end, with its last good state saved. */
  failure?: UnfoldError;
}

/**
 * Trains one coder to the end.
 * @returns the last line of metrics
 * @throws the signal's reason after a checkpoint, when aborted; UnfoldError `not-finite` when activations, gradients or
 *   losses stop being numbers: parameters are then those of the step before, and saved
 */
export async function trainToEnd(
  run: Run,
  stream: RowStream,
  context: StageContext,
): Promise<MetricsLine | undefined> {
  const [end] = await trainTogether([run], stream, context);
  if (end!.failure) throw end!.failure;
  return end!.line;
}

/**
 * Trains coders to the end, each batch read once for all. Their batches have the same size, and they are of the same
 * length.
 * @returns how each ended, in order: one that diverges stops, the others go on
 * @throws the signal's reason after checkpoints of all, when aborted
 */
export async function trainTogether(
  runs: readonly Run[],
  stream: RowStream,
  context: StageContext,
): Promise<RunEnd[]> {
  const { train_batch_size_tokens: rows, total_steps: steps } = runs[0]!.settings;
  const trainers = runs.map((run) => new Trainer(run, context));
  const preparer = new BatchPreparer(rows);
  const reader = new BatchReader(stream, rows);
  const label = runs.length > 1 ? `train ${runs.length} coders` : 'train';
  const facts = new FactReporter(trainers);
  const bar = context.bar(label, steps * rows, 'tokens', stepOf(trainers) * rows);
  try {
    for (let step = stepOf(trainers); step < steps; step = stepOf(trainers)) {
      await new Promise(setImmediate); // Lets Ctrl-C be heard between steps.
      if (context.signal.aborted) await stop(trainers, context);
      const batch = await reader.next(step * rows, step + 1 < steps);
      await stepTogether(trainers, preparer, batch, step);
      bar.update((step + 1) * rows, notesOf(trainers), facts.next());
    }
    bar.finish(notesOf(trainers));
    return trainers.map(({ line, failure }) => ({ line, failure }));
  } catch (error) {
    bar.finish('stopped');
    throw error;
  } finally {
    preparer.release();
    await reader.drain();
  }
}

/** One batch for every run that is at `step`. */
async function stepTogether(
  trainers: readonly Trainer[],
  preparer: BatchPreparer,
  batch: RowBatch,
  step: number,
): Promise<void> {
  for (const trainer of trainers) if (trainer.next === step) await trainer.step(preparer, batch);
  preparer.release();
}

/** The step that the run furthest behind is at; infinite when none goes on. */
function stepOf(trainers: readonly Trainer[]): number {
  return trainers.reduce((least, trainer) => Math.min(least, trainer.next), Number.POSITIVE_INFINITY);
}

/** Saves what there is and ends in order. */
async function stop(trainers: readonly Trainer[], context: StageContext): Promise<never> {
  // The folder is another process's by now (lock.ts).
  if (context.signal.reason instanceof UnfoldError && context.signal.reason.kind === 'locked')
    throw context.signal.reason;
  for (const trainer of trainers) {
    const { state, settings } = trainer.run;
    if (state.step > 0 && (trainer.next < Number.POSITIVE_INFINITY || state.step === settings.total_steps))
      await trainer.checkpoint();
  }
  context.note(`stopped at step ${stepOf(trainers)}`);
  throw context.signal.reason;
}

function notesOf(trainers: readonly Trainer[]): string | undefined {
  if (trainers.length === 1) return trainers[0]!.note;
  const notes = trainers.flatMap(({ run, shortNote }) => (shortNote ? `${run.name} ${shortNote}` : []));
  return notes.length > 0 ? `loss/EV/L0: ${notes.join(' | ')}` : undefined;
}
