/**
 * @file Job `evaluate`: how good a coder is. The files are those of `unfold evaluate --out FILE`, in one folder; beside
 * them `FILE.job.json` says what they were made from.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { EvaluateCoderOptions } from '../../evaluate/evaluate-coder.ts';
import { checkInputs } from '../../evaluate/evaluate-coder.ts';
import { evaluateCoders } from '../../evaluate/evaluate-coders.ts';
import { textChangesSchema } from '../../text/spec.ts';
import { coderChoice } from './coder-choice.ts';
import { absoluteDataset, absoluteModel, absolutePath, visiblePaths } from './inputs.ts';
import { type JobKind, type JobRequest, known, requestOf } from './kind.ts';
import { isDone, type OnceOptions, once } from './once.ts';
import { assertFile, besides, fileName, jobFile } from './place.ts';

const schema = z.strictObject({
  ...coderChoice,
  coder: z.string().min(1),
  model: z.string().min(1).optional(),
  dataset: z.string().min(1).optional(),
  tokens: z.string().min(1).optional(),
  shards: z.string().min(1).optional(),
  max_tokens: z.int().positive().optional(),
  context_size: z.int().positive().optional(),
  text: textChangesSchema.optional(),
  batch_contexts: z.int().positive().optional(),
  hook_name: z.string().optional(),
  hook_name_out: z.string().optional(),
  all_tokens: z.boolean().optional(),
  exclude_tokens: z.array(z.int().nonnegative()).optional(),
  /** Names of the files in the job's folder. */
  file: fileName.default('evaluation.json'),
  per_token: fileName.optional(),
  per_latent: fileName.optional(),
});
type Settings = z.output<typeof schema>;

export const evaluateJob: JobKind<Settings> = {
  stage: 'evaluate',
  schema,
  visible: ({ coder, model, dataset, tokens, shards }) => visiblePaths(coder, model, dataset, tokens, shards),
  owns: (settings, name) => [...filesOf(settings), manifestOf(settings.file)].includes(name),
  finished: (settings, out) => isDone(workOf(settings, out)),
  run(settings, out, context) {
    const { file, per_token, per_latent, ...options } = settings;
    const at = (name: string | undefined) => (name === undefined ? undefined : join(out, name));
    return once(workOf(settings, out), context, async (inner) => {
      const places = { out: at(file), per_token: at(per_token), per_latent: at(per_latent) };
      const result = await evaluateCoders({ ...options, ...places } as EvaluateCoderOptions, inner);
      const { metrics, tokens } = 'layers' in result ? result.layers : result.evaluation;
      return { path: file, ...metrics, tokens };
    });
  },
};

const workOf = (settings: Settings, out: string): OnceOptions => ({
  stage: 'evaluate',
  settings,
  out,
  manifest: manifestOf(settings.file),
  inputs: evaluateJob.visible(settings),
  files: filesOf(settings),
});

const manifestOf = (file: string): string => `${file}.job.json`;

const filesOf = ({ file, per_token, per_latent }: Settings): string[] =>
  [file, per_token, per_latent].filter((name) => name !== undefined);

/** The job that `unfold evaluate` with these options would be. */
export async function evaluateRequest(options: EvaluateCoderOptions): Promise<JobRequest> {
  checkInputs(options);
  const { out, file } = jobFile(options.out, 'evaluate');
  await assertFile(out, file);
  const { coder, model, dataset, tokens, shards, per_token, per_latent } = options;
  const settings = {
    ...known(schema, options),
    coder: absolutePath(coder),
    model: model && absoluteModel(model),
    dataset: dataset && (await absoluteDataset(dataset)),
    tokens: tokens && absolutePath(tokens),
    shards: shards && absolutePath(shards),
    file,
    per_token: besides(out, per_token, '--per-token'),
    per_latent: besides(out, per_latent, '--per-latent'),
  };
  return requestOf(evaluateJob as JobKind, settings, out);
}
