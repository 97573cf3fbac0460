/** @file Stage `train`: a coder, or a sweep of several, on the harvested rows or on rows that the model makes beside it. */
import { join } from 'node:path';
import { z } from 'zod';
import { checked } from '../../checked.ts';
import type { StageContext } from '../../context.ts';
import { hashOf } from '../../files.ts';
import { forwardOptions, withHookNames } from '../../harvest/inputs.ts';
import { liveSource } from '../../harvest/live.ts';
import { trainCodersOf, trainSweep, unfinishedCoders } from '../../train/sweep.ts';
import { expandSweep, isSweep } from '../../train/sweep-file.ts';
import { type TrainOptions, type TrainResult, train } from '../../train/train.ts';
import { namedChunks } from '../split.ts';
import type { Json, Stage, StageMessage, StageSplit } from '../stage.ts';
import { harvestStageSchema, SHARDS } from './harvest.ts';
import { openWorld } from './world.ts';

const settings = z.strictObject({
  train: z.record(z.string(), z.unknown()),
  /** Used with a live source only; shards say it themselves. */
  harvest: harvestStageSchema,
});
type Settings = z.output<typeof settings>;

/** Folder of the run within the stage's; its `final/` is the coder. */
export const RUN = 'run';
/** Folder of a sweep: a run for each coder. */
export const SWEEP = 'sweep';

/** Settings that change when checkpoints are written, and nothing else. */
const UNDECISIVE = new Set(['checkpoint_every_minutes', 'checkpoint_every_steps', 'n_checkpoints']);

/** The coders that a train stage left, by name; the name of a single one is empty. Paths are relative to the stage. */
export function codersOf(result: Record<string, Json | undefined>): Map<string, string> {
  const { coders } = result as { coders?: Record<string, { path: string }> };
  if (!coders) return new Map([['', RUN]]);
  return new Map(Object.entries(coders).map(([name, { path }]) => [name, path]));
}

/** Names of coders. */
const codersSchema = z.strictObject({ coders: z.array(z.string()).min(1) });
const codersOfPart = (part: unknown) => checked(codersSchema, part, { where: 'a part of train' });

/**
 * Coders of a sweep over shards. With a live source they are trained together: the model's pass over the text, which
 * they share, costs more than they do.
 */
const split: StageSplit<Settings> = {
  async parts({ settings: { train: sweep, harvest }, dir }, most) {
    if (!isSweep(sweep) || harvest.source === 'live') return [];
    const names = await unfinishedCoders({ out: join(dir, SWEEP), sweep });
    return namedChunks(names, most).map(({ name, names: coders }) => ({ name, part: { coders } }));
  },
  owns: (part, name) => codersOfPart(part).coders.some((coder) => name.startsWith(`${SWEEP}/${coder}/`)),
  async run(message, part, context) {
    const names = codersOfPart(part).coders;
    const { train: sweep } = message.settings;
    return withHarvest(message, context, async (rows) => {
      const options = { out: join(message.dir, SWEEP), ...rows, sweep };
      const { coders, failures } = await trainCodersOf(options, names, context);
      const [failure] = Object.values(failures);
      if (failure) throw failure;
      return { coders: coderFacts(coders) };
    });
  },
};

export const trainStage: Stage<Settings> = {
  name: 'train',
  version: 1,
  portable: true,
  needs: ['harvest'],
  settings,
  reads: ({ harvest }) => (harvest.source === 'live' ? [harvest.model, harvest.text.dataset] : []),
  outputs({ train: given }) {
    const runs = isSweep(given) ? [...expandSweep(given).keys()].map((name) => `${SWEEP}/${name}`) : [RUN];
    return runs.map((run) => `${run}/final/sae_weights.safetensors`);
  },
  async identity({ train: given }) {
    return Object.fromEntries(Object.entries(given).filter(([key]) => !UNDECISIVE.has(key))) as Json;
  },
  async run(message, context) {
    return withHarvest(message, context, (rows) =>
      isSweep(message.settings.train) ? sweepOn(message, rows, context) : trainOn(message, rows, context),
    );
  },
  split,
};

type Rows = Pick<TrainOptions, 'rows' | 'origin'>;
type Result = Record<string, Json | undefined>;

async function trainOn(
  { settings, dir }: StageMessage<Settings>,
  rows: Rows,
  context: StageContext,
): Promise<Result> {
  const result = await train({ out: join(dir, RUN), ...rows, settings: settings.train }, context);
  return { path: `${RUN}/final`, ...factsOf(result) };
}

/** All coders of the sweep, or the error of the first that diverged: the others are finished by then. */
async function sweepOn(
  { settings, dir }: StageMessage<Settings>,
  rows: Rows,
  context: StageContext,
): Promise<Result> {
  const { coders, failures } = await trainSweep(
    { out: join(dir, SWEEP), ...rows, sweep: settings.train },
    context,
  );
  const [failure] = Object.values(failures);
  if (failure) throw failure;
  const [first] = Object.values(coders);
  return { path: SWEEP, tokens: factsOf(first!).tokens, coders: coderFacts(coders) };
}

function coderFacts(coders: Record<string, TrainResult>): Json {
  const entries = Object.entries(coders).map(([name, result]) => [
    name,
    { path: `${SWEEP}/${name}`, ...factsOf(result) },
  ]);
  return Object.fromEntries(entries) as Json;
}

function factsOf({ settings, metrics, weightsHash }: TrainResult) {
  return {
    weights: weightsHash,
    d_sae: settings.d_sae,
    steps: settings.total_steps,
    tokens: settings.total_steps * settings.train_batch_size_tokens,
    settings: hashOf(settings),
    last_line: metrics as unknown as Json,
  };
}

/** Opens the rows, on disk or live, and lets go of them afterwards. */
async function withHarvest(
  { settings, inputs }: StageMessage<Settings>,
  context: StageContext,
  use: (rows: Rows) => Promise<Result>,
): Promise<Result> {
  if (settings.harvest.source === 'shards') return use({ rows: join(inputs.harvest!.dir, SHARDS) });
  const { model: path, text, seqpos_slice, exclude_special_tokens } = settings.harvest;
  const world = await openWorld(path, text, context);
  try {
    const { model, tokenizer, corpus } = world;
    const rows = liveSource(
      model,
      corpus,
      forwardOptions(withHookNames(settings.harvest, model), tokenizer, corpus),
    );
    const hashes = { model: model.weightsHash, tokenizer: tokenizer.hash, corpus: corpus.hash };
    return await use({ rows, origin: { model: path, text, seqpos_slice, exclude_special_tokens, hashes } });
  } finally {
    world.close();
  }
}
