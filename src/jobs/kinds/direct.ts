/** @file A direct job from request to result: its message and place in the queue, and what a worker's child does with it. */
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { isRemote } from '../../storage/url.ts';
import { type AddOptions, addJobs, type Enqueued } from '../enqueue.ts';
import { flowId } from '../flow.ts';
import { type DirectJob, parseMessage } from '../message.ts';
import type { QueueConnection } from '../redis/open.ts';
import { assertVisible } from '../visible.ts';
import { jobKind } from './index.ts';
import { type JobRequest, MAX_RESULT_BYTES, parseSettings } from './kind.ts';

/** How a direct job is queued. */
export interface DirectOptions extends AddOptions {
  /** What a worker must offer. */
  tags?: readonly string[];
}

/**
 * The message of a request. Its flow, and so its id, follows from settings and place: the same work queued twice is one job.
 * @throws UnfoldError `bad-job` (a tag that is none)
 */
export function directMessage(request: JobRequest, tags: readonly string[] = []): DirectJob {
  const { stage, settings, out } = request;
  const flow = flowId(stage, { settings, out });
  // `train=gpu`, as for the stages of a pipeline.
  const own = tags.map((tag) => (tag.startsWith(`${stage}=`) ? tag.slice(stage.length + 1) : tag));
  const message = { kind: 'unfold.job/1', type: 'direct', stage, flow, tags: [...new Set(own)].sort(), out };
  return parseMessage({ ...message, settings }, `a job ${stage}`) as DirectJob;
}

/** Queues one command as one job. */
export function enqueueDirect(
  request: JobRequest,
  { tags, ...options }: DirectOptions,
  connection: QueueConnection,
): Promise<Enqueued> {
  return addJobs(connection, { message: directMessage(request, tags), children: [] }, options);
}

/**
 * Refuses what would only find, when it is run, that its place is taken by something else.
 * @throws UnfoldError `settings-differ`
 */
export async function assertFree({ stage, settings, out }: JobRequest): Promise<void> {
  if (isRemote(out)) return;
  const kind = await jobKind(stage);
  await kind.finished?.(parseSettings(kind, settings), out);
}

/** The first path that the job reads and that is not on this machine, if there is one: it may still be made. */
export async function notThereYet({ stage, settings }: JobRequest): Promise<string | undefined> {
  const kind = await jobKind(stage);
  try {
    await assertVisible(kind.visible(parseSettings(kind, settings)), `an input of ${stage}`);
    return undefined;
  } catch (error) {
    if (error instanceof UnfoldError && error.kind === 'not-visible') return error.lesson.where;
    throw error;
  }
}

/** How a direct job ended. */
export interface DirectResult {
  result: Record<string, unknown>;
  /** True if all was done before. */
  skipped: boolean;
}

/**
 * Does the work of a direct job in the local folder `out`.
 * @throws UnfoldError `bad-job`, `bad-setting`, and those of the work
 */
export async function runDirect(
  { stage, settings }: Pick<JobRequest, 'stage' | 'settings'>,
  out: string,
  context: StageContext,
): Promise<DirectResult> {
  const kind = await jobKind(stage);
  const { skipped = false, ...result } = await kind.run(parseSettings(kind, settings), out, context);
  return { result: small(result), skipped: skipped === true };
}

/** Leaves out what is largest until the rest fits; files have all of it. */
function small(result: Record<string, unknown>): Record<string, unknown> {
  const bytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value) ?? '');
  const kept = Object.entries(result).sort(([, a], [, b]) => bytes(a) - bytes(b));
  const left: string[] = [];
  const rest = () => ({ ...Object.fromEntries(kept), ...(left.length > 0 && { left_out: left }) });
  while (kept.length > 0 && bytes(rest()) > MAX_RESULT_BYTES) left.push(kept.pop()![0]);
  return left.length > 0 ? rest() : result;
}
