/**
 * @file Job `finetune`: a coder, trained on through its model. Checkpoints, resuming, lock and manifest are those of
 * fine-tuning.
 */
import { join, relative } from 'node:path';
import { z } from 'zod';
import { exists } from '../../files.ts';
import { type FinetuneOptions, finetune } from '../../finetune/finetune.ts';
import { textChangesSchema } from '../../text/spec.ts';
import { coderChoice } from './coder-choice.ts';
import { absoluteDataset, absoluteModel, absolutePath, visiblePaths } from './inputs.ts';
import { type JobKind, type JobRequest, known, requestOf } from './kind.ts';
import { jobFolder } from './place.ts';

const schema = z.strictObject({
  ...coderChoice,
  coder: z.string().min(1),
  model: z.string().min(1),
  dataset: z.string().min(1).optional(),
  tokens: z.string().min(1).optional(),
  max_tokens: z.int().positive().optional(),
  context_size: z.int().positive().optional(),
  text: textChangesSchema.optional(),
  hook_name: z.string().optional(),
  hook_name_out: z.string().optional(),
  all_tokens: z.boolean().optional(),
  exclude_tokens: z.array(z.int().nonnegative()).optional(),
  /** Checked when the coder is open: what may be set follows from it. */
  settings: z.record(z.string(), z.json()).default({}),
});
type Settings = z.output<typeof schema>;

export const finetuneJob: JobKind<Settings> = {
  stage: 'finetune',
  schema,
  visible: ({ coder, model, dataset, tokens }) => visiblePaths(coder, model, dataset, tokens),
  finished: (_settings, out) => exists(join(out, 'manifest.json')),
  async run({ settings, ...options }, out, context) {
    const given = settings as FinetuneOptions['settings'];
    const result = await finetune({ ...options, settings: given, out } as FinetuneOptions, context);
    const { metrics, before, after, dir, coderDir, weightsHash, skipped } = result;
    const places = { path: relative(dir, coderDir), weights_sha256: weightsHash };
    return { ...metrics, before, after, ...places, skipped, settings: result.settings };
  },
};

/** The job that `unfold finetune` with these options would be. */
export async function finetuneRequest(options: FinetuneOptions): Promise<JobRequest> {
  const { coder, model, dataset, tokens, out } = options;
  const settings = {
    ...known(schema, options),
    coder: absolutePath(coder),
    model: absoluteModel(model),
    dataset: dataset && (await absoluteDataset(dataset)),
    tokens: tokens && absolutePath(tokens),
  };
  return requestOf(finetuneJob as JobKind, settings, jobFolder(out, 'finetune'));
}
