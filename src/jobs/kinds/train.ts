/**
 * @file Job `train`: one coder, or the coders of a sweep in one pass, on shards or on rows that the model makes beside it.
 * The settings of a --config or --sweep file are in the message. Checkpoints, resuming, locks and the manifests are those
 * of training. (A sweep whose coders several workers train apart is a pipeline.)
 */
import { join, relative } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { exists } from '../../files.ts';
import { harvestSchema } from '../../harvest/settings.ts';
import { type TextChanges, textChangesSchema } from '../../text/spec.ts';
import {
  type RowFlags,
  refuseText,
  runSweep,
  runTraining,
  type SweepFlags,
  type TrainFlags,
} from '../../train/command.ts';
import { resolveSettings, type TrainSettingsInput } from '../../train/settings.ts';
import { expandSweep, type SweepInput } from '../../train/sweep-file.ts';
import type { TrainResult } from '../../train/train.ts';
import { absoluteDataset, absoluteModel, absolutePath, visiblePaths } from './inputs.ts';
import { type JobKind, type JobRequest, requestOf } from './kind.ts';
import { jobFolder } from './place.ts';

const settingsOfCoder = z.record(z.string(), z.json());

const schema = z
  .strictObject({
    /** Folder of shards … */
    shards: z.string().min(1).optional(),
    /** … or model and text. */
    model: z.string().min(1).optional(),
    dataset: z.string().min(1).optional(),
    max_tokens: z.int().positive().optional(),
    context_size: z.int().positive().optional(),
    text: textChangesSchema.optional(),
    exclude_special_tokens: harvestSchema.shape.exclude_special_tokens.unwrap().optional(),
    seqpos_slice: harvestSchema.shape.seqpos_slice.unwrap().optional(),
    /** Of one coder … */
    settings: settingsOfCoder.optional(),
    /** … or shared ones, `coders` and `grid`. */
    sweep: settingsOfCoder.optional(),
  })
  .superRefine((value, check) => {
    const { shards, model, dataset, settings, sweep } = value;
    const refuse = (message: string) => check.addIssue({ code: 'custom', message });
    if ((settings === undefined) === (sweep === undefined)) refuse('either settings or sweep');
    if ((shards === undefined) === (model === undefined)) refuse('either shards, or model and dataset');
    if ((model === undefined) !== (dataset === undefined)) refuse('model and dataset together');
    const error = wrongSettings(value);
    if (error) refuse(oneLine(error));
  });
type Settings = z.output<typeof schema>;

export const trainJob: JobKind<Settings> = {
  stage: 'train',
  schema,
  visible: ({ shards, model, dataset }) => visiblePaths(shards, model, dataset),
  // A sweep's manifest is there from the beginning.
  finished: async ({ sweep }, out) => !sweep && exists(join(out, 'manifest.json')),
  async run({ settings, sweep, max_tokens, context_size, ...from }, out, context) {
    const { exclude_special_tokens, seqpos_slice, text, ...places } = from;
    const rows: RowFlags = {
      ...places,
      out,
      maxTokens: max_tokens,
      contextSize: context_size,
      text: text as TextChanges | undefined,
      excludeSpecialTokens: exclude_special_tokens,
      seqposSlice: seqpos_slice,
    };
    if (sweep === undefined)
      return resultOf(await runTraining({ ...rows, settings: settings! as TrainSettingsInput }, context));
    const { coders, failures } = await runSweep({ ...rows, sweep: sweep as SweepInput }, context);
    const [failure] = Object.values(failures);
    // The others have finished: a retry would find this one where it diverged.
    if (failure) throw failure;
    const all = Object.entries(coders).map(([name, coder]) => [name, factsOf(coder)]);
    const skipped = Object.values(coders).every((coder) => coder.skipped);
    return { finished: all.length, coders: Object.fromEntries(all), skipped };
  },
};

/** The job that `unfold train` with these flags would be. @throws UnfoldError `bad-setting`, `bad-sweep`, `no-dataset` */
export async function trainRequest(flags: TrainFlags | SweepFlags): Promise<JobRequest> {
  const { shards, model, dataset, maxTokens, contextSize, resume } = flags;
  const { text, excludeSpecialTokens, seqposSlice } = flags;
  if (shards !== undefined) refuseText(flags);
  if (resume === 'never') throw cannotStop();
  const given = 'sweep' in flags ? { sweep: flags.sweep } : { settings: flags.settings };
  const error = wrongSettings(given);
  if (error) throw error;
  const settings = {
    ...given,
    ...(shards !== undefined && { shards: absolutePath(shards) }),
    ...(model !== undefined && { model: absoluteModel(model) }),
    ...(dataset !== undefined && { dataset: await absoluteDataset(dataset) }),
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
    ...(contextSize !== undefined && { context_size: contextSize }),
    ...(text !== undefined && { text }),
    ...(excludeSpecialTokens !== undefined && { exclude_special_tokens: excludeSpecialTokens }),
    ...(seqposSlice !== undefined && { seqpos_slice: seqposSlice }),
  };
  return requestOf(trainJob as JobKind, settings, jobFolder(flags.out, 'train'));
}

/** Wide enough for any model of today: how wide the rows are is seen when they are opened. */
const UNKNOWN_WIDTH = 16_384;

/** What is wrong with the settings of a coder or of a sweep's coders, as far as that is seen without the rows. */
export function wrongSettings({
  settings,
  sweep,
}: Partial<Record<'settings' | 'sweep', object>>): UnfoldError | undefined {
  try {
    const coders = sweep ? [...expandSweep(sweep as SweepInput).values()] : settings ? [settings] : [];
    for (const coder of coders) resolveSettings(coder as Record<string, unknown>, UNKNOWN_WIDTH);
    return undefined;
  } catch (error) {
    if (error instanceof UnfoldError) return error;
    throw error;
  }
}

const oneLine = ({ lesson: { where, expected, found } }: UnfoldError): string =>
  `${where}: expected ${expected}, found ${found}`;

function resultOf(result: TrainResult): Record<string, unknown> {
  const { metrics, dir, coderDir, weightsHash, skipped, settings } = result;
  return { ...metrics, path: relative(dir, coderDir), weights_sha256: weightsHash, skipped, settings };
}

function factsOf({ metrics, weightsHash }: TrainResult): Record<string, unknown> {
  const { loss, l0, explained_variance, dead_latents } = metrics;
  return { loss, l0, explained_variance, dead_latents, weights_sha256: weightsHash };
}

function cannotStop(): UnfoldError {
  return new UnfoldError('bad-setting', {
    where: 'unfold enqueue train --resume never',
    expected: 'a job that may go on where it was stopped, as jobs do when a worker is lost',
    found: 'one that must not',
    todo: 'leave --resume out and give a new --out',
  });
}
