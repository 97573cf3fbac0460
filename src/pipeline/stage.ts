/**
 * @file What a stage of a pipeline is: an idempotent function from a small JSON message to files in one folder. The
 * message holds names and numbers only, so the same function runs in-process and, as a job, on another machine that sees
 * the same files. A stage's folder is named after a key: the hash of everything that determines its files. Equal key,
 * equal files; so a finished folder is never made again, and another setting never overwrites what an earlier one made.
 */
import type { z } from 'zod';
import type { StageContext } from '../context.ts';
import type { FileRecord } from '../inventory.ts';

/** A value that survives JSON. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json | undefined };

/** What an earlier stage left behind. */
export interface StageInput {
  dir: string;
  key: string;
  result: Record<string, Json | undefined>;
}

/** Whoever reads a stage's report: from where, and where the files are to them. */
export interface Reader {
  /** Directory in which the run was asked for; paths are written from there. The process's own unless given. */
  cwd?: string;
  /** s3:// URL of the run directory, where the stage's own folder is a copy. */
  url?: string;
}

/** The message a stage runs on. */
export interface StageMessage<Settings = unknown> {
  settings: Settings;
  /** By stage name, those in {@link Stage.needs} that the pipeline has. */
  inputs: Record<string, StageInput>;
  /** The stage's own folder; it may hold the unfinished work of a run that was stopped. */
  dir: string;
  /** Only for words to people; absent: the person who runs this process. */
  reader?: Reader;
}

/** One stage. */
export interface Stage<Settings = unknown> {
  name: string;
  /** Raised when the stage's code makes other files from the same settings. */
  version: number;
  /** Stages whose files it reads. */
  needs: readonly string[];
  /** Its settings, defaults filled in. */
  settings: z.ZodType<Settings>;
  /**
   * What determines its files besides the stages it needs: settings with paths replaced by the hashes of what they name.
   * Cheap compared with the stage itself. Settings that change only speed stay out.
   */
  identity(settings: Settings): Promise<Json>;
  /**
   * Does what is left to do in `message.dir` and returns a small result: numbers, and paths relative to the folder.
   * Goes on where a stopped run left off; stops soon after `context.signal` is aborted, by throwing its reason.
   */
  run(message: StageMessage<Settings>, context: StageContext): Promise<Record<string, Json | undefined>>;
  /**
   * How the work can be shared out among several workers, where it can: parts that may be done at the same time, in any
   * order, in the same folder. Afterwards `run` finds them done, and puts together what is left. Part by part or in one
   * go, the files are the same byte for byte.
   */
  split?: StageSplit<Settings>;
  /**
   * Paths outside the run directory that it reads, as its settings have them; names of a hub may be among them. A worker
   * that does not see one of them says so before it begins.
   */
  reads?(settings: Settings): readonly string[];
  /** Its files do not say where they are: a finished folder of the same key may be used in another run directory. */
  portable?: true;
  /** Files or folders, relative to its own, without which it does not count as finished. */
  outputs: readonly string[] | ((settings: Settings) => readonly string[]);
}

/** See {@link Stage.split}. */
export interface StageSplit<Settings = unknown> {
  /**
   * The parts that are not done yet, small JSON each, `most` of them at most; fewer than two: the stage is better run whole.
   * Names are short, of letters, digits, `_` and `-`, and say what is in the part.
   */
  parts(
    message: StageMessage<Settings>,
    most: number,
    context: StageContext,
  ): Promise<{ name: string; part: Json }[]>;
  /** Whether a file of the folder (relative, with slashes) belongs to the part: where files have to be copied, the rest is not. */
  owns(part: Json, name: string): boolean;
  /** Does one part; idempotent and resumable as `run` is. */
  run(
    message: StageMessage<Settings>,
    part: Json,
    context: StageContext,
  ): Promise<Record<string, Json | undefined>>;
}

/** stage.json of a finished stage. */
export interface StageManifest {
  kind: 'unfold.stage/1';
  stage: string;
  version: number;
  key: string;
  identity: Json;
  /** Keys of the stages it read. */
  inputs: Record<string, string>;
  result: Record<string, Json | undefined>;
  /** Wall-clock time of all attempts together. */
  seconds: number;
  finished_at: string;
  /** Every file of the folder but checkpoints, which list their own. Not in those of earlier versions. */
  files?: FileRecord[];
}
