/**
 * @file Gives a stage local folders to work in, wherever its artifacts live. On a path it works in place. On an object
 * store, its inputs and its own unfinished work are fetched into a scratch folder, finished files are pushed while it
 * works, and what is left at the end, `stage.json` last.
 */
import { join } from 'node:path';
import type { StageContext } from '../context.ts';
import { internal } from '../errors.ts';
import { isRemote } from './url.ts';

/** What is to be worked on. */
export interface WorkspaceOptions {
  /** The run's folder: a path or s3://BUCKET/PREFIX. */
  out: string;
  /** The stage's own folder in it: `train-1a2b3c4d`. */
  dir: string;
  /** Folders of finished stages that it reads. */
  inputs?: readonly string[];
  /** Local folder for copies; several processes of one machine may share it. */
  scratch: string;
  /**
   * Only for one part of a stage that others work on as well: the files (relative to `dir`, with slashes) that this part
   * reads and writes. Others are neither fetched nor pushed nor removed. Absent: all.
   */
  own?: (name: string) => boolean;
  /** Seconds between pushes while it works; 30. */
  pushSeconds?: number;
}

/** Local paths. */
export interface Workspace {
  /** Parent of the others. */
  out: string;
  dir: string;
  /** By the names in {@link WorkspaceOptions.inputs}. */
  inputs: Record<string, string>;
}

/**
 * Runs `use` on local folders; what it returns, or throws, is returned or thrown after the last push.
 * @throws UnfoldError `missing-file` (an input is not finished), `storage`, `bad-storage`, `disk-full`, `damaged`
 */
export async function withWorkspace<T>(
  options: WorkspaceOptions,
  _context: StageContext,
  use: (workspace: Workspace) => Promise<T>,
): Promise<T> {
  if (!isRemote(options.out)) return use(localWorkspace(options.out, options));
  return internal('workspaces on an object store are not there yet');
}

function localWorkspace(out: string, { dir, inputs = [] }: WorkspaceOptions): Workspace {
  return {
    out,
    dir: join(out, dir),
    inputs: Object.fromEntries(inputs.map((name) => [name, join(out, name)])),
  };
}
