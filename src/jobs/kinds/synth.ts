/**
 * @file Job `synth`: coders on rows whose features are known; one coder that exists, judged on such rows; or the toy models
 * of superposition. Runs go on from their checkpoints; `job.json` says that all is done.
 */
import { z } from 'zod';
import type { StageContext } from '../../context.ts';
import {
  type SynthCoderOptions,
  type SynthInput,
  synth,
  synthCoder,
  syntheticConfig,
  synthSchema,
} from '../../synth/synth.ts';
import { runToy, type ToyOptions } from '../../synth/toy.ts';
import { coderChoice } from './coder-choice.ts';
import { absolutePath, visiblePaths } from './inputs.ts';
import { type JobKind, type JobRequest, requestOf } from './kind.ts';
import { isDone, type OnceOptions, once } from './once.ts';
import { jobFolder } from './place.ts';
import { wrongSettings } from './train.ts';

const schema = z.discriminatedUnion('what', [
  z.strictObject({ what: z.literal('benchmark'), settings: synthSchema }),
  z.strictObject({
    what: z.literal('coder'),
    ...coderChoice,
    coder: z.string().min(1),
    settings: synthSchema.partial({ train: true }),
  }),
  z.strictObject({
    what: z.literal('toy'),
    features: z.int().positive(),
    probabilities: z.array(z.number().positive().max(1)).min(1),
  }),
]);
type Settings = z.output<typeof schema>;

export const synthJob: JobKind<Settings> = {
  stage: 'synth',
  schema,
  visible: (settings) => (settings.what === 'coder' ? visiblePaths(settings.coder) : []),
  finished: (settings, out) => isDone(workOf(settings, out)),
  run(settings, out, context) {
    return once(workOf(settings, out), context, (inner) => make(settings, out, inner));
  },
};

const FILES = {
  benchmark: ['synth.json'],
  coder: [],
  toy: ['superposition.svg', 'superposition.json'],
} as const;

const workOf = (settings: Settings, out: string): OnceOptions => ({
  stage: 'synth',
  settings,
  out,
  manifest: 'job.json',
  inputs: synthJob.visible(settings),
  files: FILES[settings.what],
});

async function make(settings: Settings, out: string, context: StageContext) {
  if (settings.what === 'toy') {
    const { models } = await runToy({ ...settings, out }, context);
    const losses = models.map(({ probability, loss }) => [probability, loss]);
    return { path: 'superposition.json', picture: 'superposition.svg', losses: Object.fromEntries(losses) };
  }
  if (settings.what === 'coder') {
    const { what, ...options } = settings;
    const { evaluation } = await synthCoder(options, context);
    return { what, ...evaluation };
  }
  const { coders } = await synth({ out, settings: settings.settings }, context);
  return {
    path: 'synth.json',
    coders: Object.fromEntries(coders.map(({ coder, mean }) => [coder, mean])),
  };
}

/** What `unfold synth` was asked for. */
export type SynthFlags =
  | { what: 'benchmark'; out: string; settings: SynthInput }
  | ({ what: 'coder'; out: string | undefined } & SynthCoderOptions)
  | ({ what: 'toy' } & ToyOptions);

/** The job that `unfold synth` with these options would be. */
export async function synthRequest({ out, ...options }: SynthFlags): Promise<JobRequest> {
  const settings = options.what === 'coder' ? { ...options, coder: absolutePath(options.coder) } : options;
  const request = requestOf(synthJob as JobKind, settings, jobFolder(out, 'synth'));
  if (options.what !== 'toy')
    syntheticConfig(options.settings.model as Parameters<typeof syntheticConfig>[0]);
  const error = options.what === 'benchmark' && wrongSettings({ sweep: options.settings.train });
  if (error) throw error;
  return request;
}
