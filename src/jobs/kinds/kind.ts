/**
 * @file What a direct job is: one function of the library that a message can call, whose files are all in the job's own
 * folder. (Stages of pipelines are src/pipeline/stage.ts; both are run by src/jobs/execute.ts.)
 *
 * To add one: a file here that exports a {@link JobKind}, one line in index.ts, and one entry in the table of
 * test/jobs/kinds/conformance.test.ts, which holds every kind to this contract. For `unfold enqueue NAME …flags` the
 * command of the same name also gets a `job` (src/cli/command.ts).
 */
import { z } from 'zod';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import type { Json } from '../../pipeline/stage.ts';

/**
 * A kind of direct job.
 *
 * A job may be begun at any time by any process, be killed at any moment, and be run again after it was done. So `run`
 * takes a lock of its folder (or of its part of the folder), writes files whole or not at all, goes on where a killed run
 * left off, and writes its manifest last. What is done is not done again.
 */
export interface JobKind<Settings = unknown> {
  /** The queue's name, and what a person calls it: `train`. */
  readonly stage: string;
  /** Its settings as they are in the message: JSON, defaults filled in, paths absolute. */
  readonly schema: z.ZodType<Settings>;
  /**
   * Does what is left to do in the folder `out` and returns a small result (numbers, names, relative paths; under 16 kB as
   * JSON): what the command's --json prints, with paths relative to the folder. `skipped: true` in it says that all was done before.
   * @throws UnfoldError that says what the user can mend; the signal's reason when stopped
   */
  run(settings: Settings, out: string, context: StageContext): Promise<Record<string, unknown>>;
  /** Absolute paths that have to exist on the machine that runs it; names of a hub are not among them. */
  visible(settings: Settings): string[];
  /**
   * Where several jobs may have one folder: whether a file (relative to it, with slashes) is this one's to read and write.
   * On an object store others are left alone. Absent: all are.
   */
  owns?(settings: Settings, name: string): boolean;
  /**
   * Whether all is done in a local folder, as far as that is seen at a glance: such work is not queued again. When in
   * doubt false: the job finds out for itself, and skips what is done.
   * @throws UnfoldError `settings-differ` if something else was made there
   */
  finished?(settings: Settings, out: string): Promise<boolean>;
}

/** Work for the queue, as a command's flags say it. */
export interface JobRequest {
  stage: string;
  /** As {@link JobKind.schema} has them after parsing. */
  settings: Json;
  /** An absolute path or the URL of a store. */
  out: string;
}

/**
 * The request for these settings, once they are found right.
 * @throws UnfoldError `bad-setting`
 */
export function requestOf(kind: JobKind, settings: unknown, out: string): JobRequest {
  // A message has no undefined.
  return {
    stage: kind.stage,
    settings: JSON.parse(JSON.stringify(parseSettings(kind, settings))) as Json,
    out,
  };
}

/** The entries of `options` that a schema knows: commander's options hold more. */
export function known(schema: z.ZodObject, options: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(schema.shape, name)));
}

/** A result in the queue is for reading; data is in files. */
export const MAX_RESULT_BYTES = 16 * 1024;

/**
 * Checks a message's settings.
 * @throws UnfoldError `bad-setting` that names every setting that is wrong
 */
export function parseSettings<Settings>(kind: JobKind<Settings>, settings: unknown): Settings {
  const parsed = kind.schema.safeParse(settings);
  if (parsed.success) return parsed.data;
  throw new UnfoldError('bad-setting', {
    where: `the settings of a job ${kind.stage}`,
    expected: 'settings that the job knows',
    found: z.prettifyError(parsed.error).replaceAll('\n', ' '),
    todo: `unfold enqueue ${kind.stage} --help lists them; queue the job again`,
  });
}
