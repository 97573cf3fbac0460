/** @file Stage `harvest`: activations of the hook points into shards; with `source: live` nothing, they are made on the fly. */
import { join } from 'node:path';
import { z } from 'zod';
import { checked } from '../../checked.ts';
import { harvest, planOfHarvest } from '../../harvest/harvest.ts';
import { harvestSchema } from '../../harvest/settings.ts';
import { chunks } from '../split.ts';
import type { Stage, StageSplit } from '../stage.ts';
import { modelHash } from './world.ts';

/** The settings of this stage, which the training needs as well if the source is live. */
export const harvestStageSchema = harvestSchema.extend({ source: z.enum(['shards', 'live']) });

/** Folder of the shards within the stage's. */
export const SHARDS = 'activations';

type Settings = z.output<typeof harvestStageSchema>;

/** Shards, both ends included. Finished ones among them are left alone. */
const rangeSchema = z.strictObject({ first: z.int().nonnegative(), last: z.int().nonnegative() });

/** Ranges of shards, which lock themselves; the last of them writes the manifest. */
const split: StageSplit<Settings> = {
  async parts({ settings: { source, ...settings }, dir }, most, context) {
    if (source === 'live') return [];
    const { missing } = await planOfHarvest({ ...settings, out: join(dir, SHARDS) }, context);
    return chunks(missing, most).map((own) => {
      const [first, last] = [own[0]!.index, own.at(-1)!.index];
      return { name: first === last ? `shard-${first}` : `shards-${first}-${last}`, part: { first, last } };
    });
  },
  owns(part, name) {
    const { first, last } = checked(rangeSchema, part, { where: 'a part of harvest' });
    const index = Number(/^activations\/data-(\d+)-of-/.exec(name)?.[1] ?? -1);
    return index >= first && index <= last;
  },
  async run({ settings: { source: _source, ...settings }, dir }, part, context) {
    const { first, last } = checked(rangeSchema, part, { where: 'a part of harvest' });
    const options = { ...settings, out: join(dir, SHARDS), shards: `${first}..${last}` };
    const { shards_made, shards_skipped, tokens_per_second } = await harvest(options, context);
    return { shards: options.shards, shards_made, shards_skipped, tokens_per_second };
  },
};

export const harvestStage: Stage<Settings> = {
  name: 'harvest',
  version: 1,
  portable: true,
  needs: ['corpus'],
  settings: harvestStageSchema,
  outputs: [],
  // A live source is opened by the training.
  reads: ({ source, model, text }) => (source === 'live' ? [model] : [model, text.dataset]),
  async identity({ model, text: _text, ...rest }) {
    return { model: await modelHash(model), ...rest };
  },
  async run({ settings: { source, ...settings }, dir }, context) {
    if (source === 'live') return { source, rows: null };
    const result = await harvest({ ...settings, out: join(dir, SHARDS) }, context);
    const { content_hash, rows, shards, bytes, tokens_per_second, dtype } = result;
    return { source, path: SHARDS, content_hash, rows, shards, bytes, tokens_per_second, dtype };
  },
  split,
};
