/**
 * @file The table of direct jobs. Each file is imported when such a job is met, so the table itself costs nothing.
 *
 * Not here are commands whose results are read on the spot and that leave no file (tokenise, generate, info), or that take
 * seconds (cache, import, export).
 */
import { nearest, UnfoldError } from '../../errors.ts';
import type { JobKind } from './kind.ts';

const kinds: Readonly<Record<string, () => Promise<JobKind>>> = {
  harvest: async () => (await import('./harvest.ts')).harvestJob as JobKind,
  train: async () => (await import('./train.ts')).trainJob as JobKind,
  finetune: async () => (await import('./finetune.ts')).finetuneJob as JobKind,
  evaluate: async () => (await import('./evaluate.ts')).evaluateJob as JobKind,
  encode: async () => (await import('./encode.ts')).encodeJob as JobKind,
  synth: async () => (await import('./synth.ts')).synthJob as JobKind,
  probe: async () => (await import('./probe.ts')).probe as JobKind,
};

/** Names of all direct jobs, as in the queue. */
export const kindNames: readonly string[] = Object.keys(kinds);

/**
 * The kind of a job.
 * @throws UnfoldError `bad-job` that lists the known ones
 */
export async function jobKind(stage: string): Promise<JobKind> {
  if (Object.hasOwn(kinds, stage)) return kinds[stage]!();
  throw new UnfoldError('bad-job', {
    where: `a job of stage ${stage}`,
    expected: `one of ${kindNames.join(', ')}`,
    found: `${stage}, which this version of Unfold does not have`,
    todo: `did you mean ${nearest(stage, kindNames, 1)[0]}? Worker and enqueuing machine need the same version of Unfold`,
  });
}
