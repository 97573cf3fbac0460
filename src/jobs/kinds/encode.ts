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
import { isDone, type OnceOptions, once } from './once.ts';
import { assertFile, fileName, jobFile } from './place.ts';

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
  owns: (settings, name) => [...filesOf(settings), manifestOf(settings.file)].includes(name),
  finished: (settings, out) => isDone(workOf(settings, out)),
  run(settings, out, context) {
    const { file, ...options } = settings;
    return once(workOf(settings, out), context, async (inner) => {
      const { out: _path, ...result } = await encodeFile({ ...options, out: join(out, file) }, inner);
      return { path: file, ...result };
    });
  },
};

const workOf = (settings: Settings, out: string): OnceOptions => ({
  stage: 'encode',
  settings,
  out,
  manifest: manifestOf(settings.file),
  inputs: encodeJob.visible(settings),
  files: filesOf(settings),
});

const manifestOf = (file: string): string => `${file}.job.json`;

const filesOf = ({ file }: Settings): string[] => [file];

/** The job that `unfold encode` with these options would be. */
export async function encodeRequest(options: EncodeOptions): Promise<JobRequest> {
  const { out, file } = jobFile(options.out, 'encode');
  await assertFile(out, file);
  const { coder, input } = options;
  const settings = {
    ...known(schema, options),
    coder: absolutePath(coder),
    input: absolutePath(input),
    file,
  };
  return requestOf(encodeJob as JobKind, settings, out);
}
