/**
 * @file Job `harvest`: activations into shards, all or a range of them (`shards: "3..7"`), so that several jobs may fill one
 * folder (on an object store one without a range has to put their shards together at the end). Its manifest, its locks of shards and the skipping of finished ones are the harvest's own.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { exists } from '../../files.ts';
import { type HarvestOptions, harvest } from '../../harvest/harvest.ts';
import { harvestSchema } from '../../harvest/settings.ts';
import { MANIFEST } from '../../shards/manifest.ts';
import { absoluteDataset, absoluteModel, visiblePaths } from './inputs.ts';
import { type JobKind, type JobRequest, parseSettings, requestOf } from './kind.ts';
import { jobFolder } from './place.ts';

const schema = harvestSchema.extend({
  shards: z
    .string()
    .regex(/^\d+(\.\.\d*)?$/, 'shards such as 3..7')
    .optional(),
  force: z.boolean().optional(),
});
type Settings = z.output<typeof schema>;

export const harvestJob: JobKind<Settings> = {
  stage: 'harvest',
  schema,
  visible: ({ model, text }) => visiblePaths(model, text.dataset),
  owns({ shards }, name) {
    const [, first, , last] = /^(\d+)(\.\.(\d*))?$/.exec(shards ?? '') ?? [];
    if (first === undefined || name === MANIFEST) return true;
    const index = Number(/^data-(\d+)-of-/.exec(name)?.[1] ?? -1);
    return (
      index >= Number(first) && index <= (last === '' ? Number.POSITIVE_INFINITY : Number(last ?? first))
    );
  },
  // Written when all shards are there.
  finished: async ({ shards }, out) => shards === undefined && exists(join(out, 'state.json')),
  async run(settings, out, context) {
    const { out: _path, ...result } = await harvest({ ...settings, out }, context);
    return { ...result, skipped: result.shards_made === 0 };
  },
};

/** The job that `unfold harvest` with these options would be. */
export async function harvestRequest({ out, ...options }: HarvestOptions): Promise<JobRequest> {
  const settings = parseSettings(harvestJob, options);
  const model = absoluteModel(settings.model);
  const text = { ...settings.text, dataset: await absoluteDataset(settings.text.dataset) };
  return requestOf(harvestJob as JobKind, { ...settings, model, text }, jobFolder(out, 'harvest'));
}
