/**
 * @file What `unfold train` does with its flags: finds the rows, shards or a live model, and trains. Kept apart from the
 * command so that the flags' meaning can be tested without a terminal.
 */
import { join } from 'node:path';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists } from '../files.ts';
import { openInputs } from '../harvest/inputs.ts';
import { liveSource } from '../harvest/live.ts';
import { harvestSchema } from '../harvest/settings.ts';
import type { TrainSettingsInput } from './settings.ts';
import { type TrainResult, train } from './train.ts';

/** Flags of the command, camelCase as commander has them. */
export interface TrainFlags {
  out: string;
  shards?: string;
  model?: string;
  dataset?: string;
  maxTokens?: number;
  contextSize?: number;
  resume?: 'auto' | 'never';
  settings: TrainSettingsInput;
}

/** Trains on shards or live. @throws UnfoldError `bad-setting` when it is not clear on which */
export async function runTraining(flags: TrainFlags, context: StageContext): Promise<TrainResult> {
  const { out, shards, settings } = flags;
  if ((shards === undefined) === (flags.model === undefined)) {
    throw badFlags(
      shards === undefined ? 'neither' : 'both',
      'either --shards DIR, or --model, --dataset and --hook-name',
    );
  }
  if (flags.resume === 'never' && (await exists(join(out, 'config.json')))) {
    throw badFlags(`a run in ${out}`, 'a new --out, as --resume never says');
  }
  if (shards !== undefined) return train({ out, rows: shards, settings }, context);
  return trainLive(flags, context);
}

async function trainLive(
  { out, model, dataset, maxTokens, contextSize, settings }: TrainFlags,
  context: StageContext,
): Promise<TrainResult> {
  if (dataset === undefined || typeof settings.hook_name !== 'string') {
    throw badFlags('--model alone', '--dataset and --hook-name beside --model');
  }
  const text = { dataset, max_tokens: maxTokens, context_size: contextSize };
  const harvest = harvestSchema.parse({ model, text, hook_names: [settings.hook_name] });
  const inputs = await openInputs(harvest, context, {});
  try {
    const rows = liveSource(inputs.model, inputs.corpus, inputs.forward);
    return await train({ out, rows, settings, origin: { ...harvest } }, context);
  } finally {
    inputs.close();
  }
}

function badFlags(found: string, expected: string): UnfoldError {
  const todo = 'unfold train --help has examples of both';
  return new UnfoldError('bad-setting', { where: 'unfold train', expected, found, todo });
}
