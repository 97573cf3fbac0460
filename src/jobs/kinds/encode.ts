/**
 * @file Job `encode`: a coder over rows of a file. The file is the one that `unfold encode --out FILE` writes; beside it
 * `FILE.job.json` says what it was made from.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type EncodeOptions, encodeFile } from '../../coders/encode-file.ts';
import { coderChoice } from './coder-choice.ts';
import { absolutePath, visiblePaths } from './inputs.ts';
import { type JobKind, type JobRequest, known, requestOf } from './kind.ts';
import { once } from './once.ts';
import { fileName, jobFile } from './place.ts';

const schema = z.strictObject({
  ...coderChoice,
  coder: z.string().min(1),
  input: z.string().min(1),
  tensor: z.string().min(1).default('input'),
  batch_rows: z.int().positive().default(1024),
  /** Name of the file in the job's folder. */
  file: fileName,
});
type Settings = z.output<typeof schema>;

export const encodeJob: JobKind<Settings> = {
  stage: 'encode',
  schema,
  visible: ({ coder, input }) => visiblePaths(coder, input),
  run(settings, out, context) {
    const { file, ...options } = settings;
    const work = { stage: 'encode', settings, out, manifest: `${file}.job.json`, files: [file] };
    return once({ ...work, inputs: encodeJob.visible(settings) }, context, async (inner) => {
      const { out: _path, ...result } = await encodeFile({ ...options, out: join(out, file) }, inner);
      return { path: file, ...result };
    });
  },
};

/** The job that `unfold encode` with these options would be. */
export async function encodeRequest(options: EncodeOptions): Promise<JobRequest> {
  const { out, file } = jobFile(options.out, 'encode');
  const { coder, input } = options;
  const settings = {
    ...known(schema, options),
    coder: absolutePath(coder),
    input: absolutePath(input),
    file,
  };
  return requestOf(encodeJob as JobKind, settings, out);
}
