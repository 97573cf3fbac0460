/**
 * @file Does what a message says, in this process: the one way a job's work is done, whoever calls it (the worker's child,
 * a test). Knows nothing of Redis.
 */
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { executeDirect } from './execute-direct.ts';
import { executePipeline } from './execute-pipeline.ts';
import { executeStage } from './execute-stage.ts';
import type { JobMessage } from './message.ts';
import type { JobOutcome } from './protocol.ts';
import { assertWithinRoots, type Roots, withinRoots } from './roots.ts';

/** Where the work happens. */
export interface ExecuteOptions {
  /** Local folder for copies of what lies on an object store. */
  scratch: string;
  /** Places below which it may write; unless given, anywhere. */
  roots?: Roots;
}

/**
 * Runs a job to its end, or to the point where its parts have to be done first.
 * @throws UnfoldError `outside-root`, `bad-job`, `not-visible` (a path that this machine does not see), `input-differs` (it sees another
 *   file there), `busy` (another process is at the same files: to be tried again later), and those of the stage; the
 *   signal's reason when stopped
 */
export async function executeJob(
  given: JobMessage,
  options: ExecuteOptions,
  context: StageContext,
): Promise<JobOutcome> {
  context.signal.throwIfAborted();
  const { roots } = options;
  if (roots) await assertWithinRoots(given, roots);
  const message = roots ? await withinRoots(given, roots) : given;
  try {
    if (message.type === 'stage') return await executeStage(message, options, context);
    if (message.type === 'pipeline') return await executePipeline(message, options, context);
    return await executeDirect(message, options, context);
  } catch (error) {
    throw error instanceof UnfoldError && error.kind === 'locked'
      ? new UnfoldError('busy', error.lesson)
      : error;
  }
}
