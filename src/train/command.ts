/**
 * @file What `unfold train` does with its flags: finds the rows, shards or a live model, and trains one coder or a sweep.
 * Kept apart from the command so that the flags' meaning can be tested without a terminal.
 */
import { join } from 'node:path';
import { checked } from '../checked.ts';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists } from '../files.ts';
import { openInputs } from '../harvest/inputs.ts';
import { liveSource } from '../harvest/live.ts';
import { harvestSchema } from '../harvest/settings.ts';
import { refuseOwnInput } from '../own-input.ts';
import type { TextChanges } from '../text/spec.ts';
import { namedHooks } from './hooks.ts';
import type { TrainSettingsInput } from './settings.ts';
import { SWEEP_FILE, type SweepResult, trainSweep } from './sweep.ts';
import { expandSweep, type SweepInput } from './sweep-file.ts';
import { type TrainOptions, type TrainResult, train } from './train.ts';

/** Where rows come from and runs go to, camelCase as commander has them. */
export interface RowFlags {
  out: string;
  shards?: string;
  model?: string;
  dataset?: string;
  maxTokens?: number;
  contextSize?: number;
  /** How the text is packed. */
  text?: TextChanges;
  /** Which tokens and positions give rows; as in a harvest unless given. */
  excludeSpecialTokens?: boolean | number[];
  seqposSlice?: (number | null)[];
  resume?: 'auto' | 'never';
}

/** Flags of the command. */
export interface TrainFlags extends RowFlags {
  settings: TrainSettingsInput;
}

/** Flags of the command with --sweep. */
export interface SweepFlags extends RowFlags {
  sweep: SweepInput;
}

/** Trains on shards or live. @throws UnfoldError `bad-setting` when it is not clear on which */
export async function runTraining(flags: TrainFlags, context: StageContext): Promise<TrainResult> {
  const { out, settings } = flags;
  await refuseOld(flags, 'config.json');
  return onRows(flags, namedHooks(settings), context, (rows) => train({ out, ...rows, settings }, context));
}

/** Trains the coders of a sweep on shards, or live on all the hooks that they need. */
export async function runSweep(flags: SweepFlags, context: StageContext): Promise<SweepResult> {
  const { out, sweep } = flags;
  await refuseOld(flags, SWEEP_FILE);
  const hooks = [...new Set([...expandSweep(sweep).values()].flatMap(namedHooks))];
  return onRows(flags, hooks, context, (rows) => trainSweep({ out, ...rows, sweep }, context));
}

async function refuseOld({ resume, out }: RowFlags, file: string): Promise<void> {
  if (resume === 'never' && (await exists(join(out, file))))
    throw badFlags(`a run in ${out}`, 'a new --out, as --resume never says');
}

/** Opens the rows that the flags name and hands them on. */
async function onRows<T>(
  flags: RowFlags,
  hooks: readonly string[],
  context: StageContext,
  use: (rows: Pick<TrainOptions, 'rows' | 'origin'>) => Promise<T>,
): Promise<T> {
  const { shards, model, dataset, maxTokens, contextSize } = flags;
  if ((shards === undefined) === (model === undefined)) {
    throw badFlags(
      shards === undefined ? 'neither' : 'both',
      'either --shards DIR, or --model, --dataset and the hooks',
    );
  }
  if (shards !== undefined) {
    refuseText(flags);
    await refuseOwnInput('--out', flags.out, [shards]);
    return use({ rows: shards });
  }
  if (dataset === undefined || hooks.length === 0)
    throw badFlags('--model alone', '--dataset and --hook-name beside --model');
  const harvest = checked(
    harvestSchema,
    {
      model,
      text: { max_tokens: maxTokens, context_size: contextSize, ...flags.text, dataset },
      hook_names: hooks,
      exclude_special_tokens: flags.excludeSpecialTokens,
      seqpos_slice: flags.seqposSlice,
    },
    { where: 'unfold train', todo: 'unfold train --help lists what may be given' },
  );
  const inputs = await openInputs(harvest, context, {});
  try {
    const rows = liveSource(inputs.model, inputs.corpus, inputs.forward);
    return await use({ rows, origin: { ...harvest } });
  } finally {
    inputs.close();
  }
}

/** Rows on disk are what they are. @throws UnfoldError `bad-setting` for settings of a text */
export function refuseText({ text, excludeSpecialTokens, seqposSlice }: RowFlags): void {
  const names = Object.keys({
    ...text,
    ...(excludeSpecialTokens !== undefined && { exclude_special_tokens: 0 }),
    ...(seqposSlice !== undefined && { seqpos_slice: 0 }),
  });
  if (names.length > 0)
    throw badFlags(
      `${names.join(', ')} beside --shards`,
      '--model and --dataset beside settings of the text',
    );
}

function badFlags(found: string, expected: string): UnfoldError {
  const todo = 'unfold train --help has examples of both';
  return new UnfoldError('bad-setting', { where: 'unfold train', expected, found, todo });
}
