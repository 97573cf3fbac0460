/** @file One job as a watcher sees it, from the text that Redis holds; garbage becomes a job with a `problem`. */
import { z } from 'zod';
import { type JobMessage, jobMessage } from '../message.ts';
import { type CancelRequest, parseQueueName } from '../names.ts';
import type { JobProgress } from '../progress.ts';
import { jsonOf, parseJobKey, type RawJob, whyUnreadable } from './read.ts';
import type { JobState, JobView } from './view.ts';

/** A cancelled job's failedReason begins so, whoever failed it. */
export const CANCELLED = 'cancelled by ';

/** BullMQ's scores of delayed jobs: milliseconds times this, plus an order. */
const DELAY_SCALE = 0x1000;

const optional = {
  number: z.number().optional().catch(undefined),
  text: z.string().optional().catch(undefined),
};

/** What a progress bar may hold; a field of another type is dropped, others stay. */
const progressShape: z.ZodType<JobProgress> = z
  .object({
    label: optional.text,
    done: optional.number,
    total: optional.number,
    unit: optional.text,
    rate: optional.number,
    eta: optional.number,
    note: optional.text,
    facts: z.record(z.string(), z.number()).optional().catch(undefined),
    losses: z.array(z.number()).optional().catch(undefined),
    worker: z
      .object({ id: z.string(), host: z.string(), pid: z.number(), child: z.number() })
      .optional()
      .catch(undefined),
    memory: z.object({ rss_bytes: z.number() }).optional().catch(undefined),
    attempt: optional.number,
    failure: z
      .object({
        kind: z.string(),
        where: z.string(),
        expected: z.string(),
        found: z.string(),
        todo: z.string(),
      })
      .optional()
      .catch(undefined),
  })
  .catch({}) as z.ZodType<JobProgress>;

/** The message of a job, or why it is none. */
export function readMessage(raw: RawJob): { message?: JobMessage; problem?: string } {
  if (!raw.fields) return { problem: 'not a message of Unfold: nothing is stored under this id' };
  const { data } = raw.large ?? {};
  const why = data === undefined ? whyUnreadable(raw.fields.data) : `${data} bytes`;
  if (why !== undefined) return { problem: `not a message of Unfold: ${why}` };
  const parsed = jobMessage.safeParse(jsonOf(raw.fields.data));
  if (parsed.success) return { message: parsed.data };
  const issue = parsed.error.issues[0];
  const field = issue?.path.length ? `${issue.path.join('.')}: ` : '';
  return { problem: `not a message of Unfold: ${field}${issue?.message ?? 'not JSON'}` };
}

/** The job, without children and without what depends on them. `now`: Redis's clock. */
export function viewJob(raw: RawJob, cancel: CancelRequest | undefined, now: number): JobView {
  const { message, problem } = readMessage(raw);
  const fields = raw.fields ?? {};
  const progress = progressOf(fields.progress);
  const started = numberOf(fields.processedOn);
  const finished = numberOf(fields.finishedOn);
  const state = stateOf(raw, cancel !== undefined);
  const named = parseQueueName(raw.queue);
  const running = state === 'active';
  const until = raw.place === 'delayed' ? raw.score / DELAY_SCALE : undefined;
  const parent = parseJobKey(fields.parentKey ?? '')?.id;
  const part = message?.type === 'stage' ? message.part?.name : undefined;
  const view: JobView = {
    id: raw.id,
    queue: raw.queue,
    flow: flowOf(raw, message),
    stage: message?.stage ?? named.stage,
    tags: message?.tags ?? named.tags,
    state,
    progress,
    share: state === 'completed' ? 1 : ownShare(progress),
    attempts: numberOf(fields.atm) ?? 0,
    maxAttempts: maxAttempts(fields.opts),
    begun: numberOf(fields.ats) ?? 0,
    recovered: numberOf(fields.stc) ?? 0,
    priority: numberOf(fields.priority) ?? 0,
    created: numberOf(fields.timestamp) ?? 0,
    children: [],
  };
  return withKnown(view, {
    part,
    rate: running ? progress.rate : undefined,
    eta: running ? progress.eta : undefined,
    worker: progress.worker && pick(progress.worker),
    started,
    finished,
    seconds:
      started === undefined ? undefined : secondsBetween(started, finished ?? (running ? now : started)),
    until: until === undefined ? undefined : Math.floor(until),
    cancel,
    failedReason: fields.failedReason ?? fields.defa,
    result: state === 'completed' ? jsonOf(fields.returnvalue) : undefined,
    out: message?.out,
    problem,
    parent,
  });
}

/** A message that names another flow than its id does is not believed. */
function flowOf({ queue, id }: RawJob, message: JobMessage | undefined): string {
  return message && id.startsWith(`${message.flow}.`) ? message.flow : guessFlow(queue, id);
}

/** The flow that an id belongs to, without its data: ids are FLOW.STAGE or FLOW.STAGE.PART. */
export function guessFlow(queue: string, id: string): string {
  const { stage } = parseQueueName(queue);
  if (id.endsWith(`.${stage}`)) return id.slice(0, -stage.length - 1);
  const at = id.lastIndexOf(`.${stage}.`);
  return at > 0 ? id.slice(0, at) : id;
}

function stateOf({ place, resting, fields }: RawJob, stopped: boolean): JobState {
  if (place === 'active' || place === 'completed') return place;
  if (place === 'failed') return fields?.failedReason?.startsWith(CANCELLED) ? 'cancelled' : 'failed';
  if (stopped) return 'cancelled';
  if (place === 'waiting-children') return 'waits';
  if (place === 'delayed') return 'delayed';
  return resting || place === 'paused' ? 'paused' : 'waiting';
}

function progressOf(text: string | undefined): JobProgress {
  if (text === undefined || text === '0') return {};
  return withKnown({}, progressShape.parse(jsonOf(text)));
}

/** Share of its own bar. */
function ownShare({ done = 0, total = 0 }: JobProgress): number {
  return total > 0 ? Math.min(Math.max(done / total, 0), 1) : 0;
}

function maxAttempts(opts: string | undefined): number {
  const parsed = jsonOf(opts) as { attempts?: unknown } | null | undefined;
  return typeof parsed?.attempts === 'number' && parsed.attempts > 0 ? parsed.attempts : 1;
}

function numberOf(text: string | undefined): number | undefined {
  const value = Number(text);
  return text === undefined || !Number.isFinite(value) ? undefined : value;
}

/** Never negative: the two ends may come from machines whose clocks differ. */
function secondsBetween(from: number, to: number): number {
  return Math.max(0, (to - from) / 1000);
}

function pick({ id, host, pid }: { id: string; host: string; pid: number }) {
  return { id, host, pid };
}

/** `target` with those fields that are known. */
function withKnown<T extends object>(target: T, fields: Partial<T>): T {
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) Object.assign(target, { [name]: value });
  }
  return target;
}
