/** @file Stage `harvest`: activations of the hook points into shards; with `source: live` nothing, they are made on the fly. */
import { join } from 'node:path';
import { z } from 'zod';
import { harvest } from '../../harvest/harvest.ts';
import { harvestSchema } from '../../harvest/settings.ts';
import type { Stage } from '../stage.ts';
import { modelHash } from './world.ts';

/** The settings of this stage, which the training needs as well if the source is live. */
export const harvestStageSchema = harvestSchema.extend({ source: z.enum(['shards', 'live']) });

/** Folder of the shards within the stage's. */
export const SHARDS = 'activations';

export const harvestStage: Stage<z.output<typeof harvestStageSchema>> = {
  name: 'harvest',
  version: 1,
  needs: ['corpus'],
  settings: harvestStageSchema,
  outputs: [],
  async identity({ model, text: _text, ...rest }) {
    return { model: await modelHash(model), ...rest };
  },
  async run({ settings: { source, ...settings }, dir }, context) {
    if (source === 'live') return { source, rows: null };
    const result = await harvest({ ...settings, out: join(dir, SHARDS) }, context);
    const { content_hash, rows, shards, bytes, tokens_per_second, dtype } = result;
    return { source, path: SHARDS, content_hash, rows, shards, bytes, tokens_per_second, dtype };
  },
};
