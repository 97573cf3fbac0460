/** @file Stage `train`: a coder on the harvested rows, or on rows that the model makes beside it. */
import { join } from 'node:path';
import { z } from 'zod';
import type { StageContext } from '../../context.ts';
import { hashOf } from '../../files.ts';
import { forwardOptions } from '../../harvest/inputs.ts';
import { liveSource } from '../../harvest/live.ts';
import { type TrainResult, train } from '../../train/train.ts';
import type { Json, Stage, StageMessage } from '../stage.ts';
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
export const CODER = 'coder';

export const trainStage: Stage<Settings> = {
  name: 'train',
  version: 1,
  needs: ['harvest'],
  settings,
  outputs: [`${RUN}/final/sae_weights.safetensors`],
  async identity({
    train: { checkpoint_every_minutes: _m, checkpoint_every_steps: _s, n_checkpoints: _n, ...decisive },
  }) {
    return decisive as Json;
  },
  async run(message, context) {
    const { settings: resolved, metrics, weightsHash } = await trainOn(message, context);
    return {
      path: `${RUN}/final`,
      weights: weightsHash,
      d_sae: resolved.d_sae,
      steps: resolved.total_steps,
      tokens: resolved.total_steps * resolved.train_batch_size_tokens,
      settings: hashOf(resolved),
      last_line: metrics as unknown as Json,
    };
  },
};

async function trainOn(
  { settings, inputs, dir }: StageMessage<Settings>,
  context: StageContext,
): Promise<TrainResult> {
  const out = join(dir, RUN);
  if (settings.harvest.source === 'shards') {
    return train({ out, rows: join(inputs.harvest!.dir, SHARDS), settings: settings.train }, context);
  }
  const { model: path, text, seqpos_slice, exclude_special_tokens } = settings.harvest;
  const world = await openWorld(path, text, context);
  try {
    const { model, tokenizer, corpus } = world;
    const rows = liveSource(model, corpus, forwardOptions(settings.harvest, tokenizer, corpus));
    const hashes = { model: model.weightsHash, tokenizer: tokenizer.hash, corpus: corpus.hash };
    const origin = { model: path, text, seqpos_slice, exclude_special_tokens, hashes };
    return await train({ out, rows, settings: settings.train, origin }, context);
  } finally {
    world.close();
  }
}
