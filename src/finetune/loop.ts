/**
 * @file The loop of a fine-tuning run: contexts through the untouched model, then a step of training whose loss is the rest
 * of the model. Steps, metrics, checkpoints and what happens when a loss diverges are the trainer's.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CoderHooks } from '../coders/training.ts';
import type { StageContext } from '../context.ts';
import type { RowBatch } from '../shards/shuffle.ts';
import { FactReporter } from '../train/facts.ts';
import type { MetricsLine } from '../train/metrics.ts';
import { BatchPreparer, type PreparedBatch, type Preparer, type RowMaps } from '../train/rows.ts';
import type { Run } from '../train/run.ts';
import { Trainer } from '../train/trainer.ts';
import { batchOf, type FinetunePlan } from './run.ts';
import type { SplicedBatch } from './spliced-batch.ts';

/**
 * Takes a run to its end.
 * @returns the last line of metrics
 * @throws UnfoldError `not-finite`; the signal's reason after a checkpoint, when aborted
 */
export async function trainThrough(
  plan: FinetunePlan,
  run: Run,
  context: StageContext,
): Promise<MetricsLine> {
  const { settings, state } = run;
  const trainer = new Trainer(run, context);
  const size = plan.contextsPerStep * plan.order.length;
  const facts = new FactReporter([trainer]);
  const bar = context.bar('finetune', settings.total_steps * size, 'tokens', state.step * size);
  try {
    while (Number.isFinite(trainer.next)) {
      await new Promise(setImmediate);
      if (context.signal.aborted) await stop(trainer, context);
      await step(plan, trainer);
      bar.update(state.step * size, noteOf(trainer), facts.next());
    }
    if (trainer.failure) throw trainer.failure;
    bar.finish(noteOf(trainer));
    return trainer.line ?? (await lastLine(run.dir));
  } catch (error) {
    bar.finish('stopped');
    throw error;
  }
}

async function step(plan: FinetunePlan, trainer: Trainer): Promise<void> {
  const batch = batchOf(plan, trainer.next);
  const preparer = new SplicedPreparer(batch, plan);
  try {
    await trainer.step(preparer, batch.rows);
  } finally {
    preparer.release();
    batch.dispose();
  }
}

/** Rows as in training, with the rest of the model as their objective. */
class SplicedPreparer implements Preparer {
  readonly #batch: SplicedBatch;
  readonly #plan: FinetunePlan;
  readonly #rows: BatchPreparer;

  constructor(batch: SplicedBatch, plan: FinetunePlan) {
    this.#batch = batch;
    this.#plan = plan;
    this.#rows = new BatchPreparer(batch.rows.rows);
  }

  prepare(rows: RowBatch, hooks: CoderHooks, maps: RowMaps, step: number): PreparedBatch {
    const { loss, loss_coefficient, mse_coefficient } = this.#plan.config.settings.finetune;
    const { in: inputs, out } = maps.scales;
    const outScale = out[0] ?? inputs[0]!;
    const objective = this.#batch.objective({ loss, loss_coefficient, mse_coefficient, outScale });
    return { ...this.#rows.prepare(rows, hooks, maps, step), objective };
  }

  release(): void {
    this.#rows.release();
  }
}

async function stop(trainer: Trainer, context: StageContext): Promise<never> {
  if (trainer.run.state.step > 0) await trainer.checkpoint();
  context.note(`stopped at step ${trainer.run.state.step}`);
  throw context.signal.reason;
}

function noteOf({ line }: Trainer): string | undefined {
  if (!line) return undefined;
  const { kl_div_with_sae: kl, ce_loss_with_sae: ce, l0, explained_variance: ev } = line;
  return `KL ${kl!.toFixed(4)}  CE ${ce!.toFixed(4)}  L0 ${l0.toFixed(1)}  EV ${ev.toFixed(3)}`;
}

/** Of a run whose training was over before it was stopped. */
async function lastLine(dir: string): Promise<MetricsLine> {
  const lines = (await readFile(join(dir, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  return JSON.parse(lines.at(-1)!) as MetricsLine;
}
