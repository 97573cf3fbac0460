/**
 * @file A job's message: what is to be done, in names and numbers, small enough for a queue and checked wherever it
 * arrives. Data never goes through the queue; a message names folders, and the hashes of what must be in them.
 */
import { z } from 'zod';
import { UnfoldError } from '../errors.ts';

const hash = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in hex');
const json = z.json();

/** Folders that a message may name as places of the same work. */
export const MAX_ELSEWHERE = 16;

/** Fields of every job. */
const base = {
  kind: z.literal('unfold.job/1'),
  /** Which function: `harvest`, `train`, …, `pipeline`, `probe`. Also the queue. */
  stage: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'a stage’s name'),
  /** Jobs that belong together: `quickstart-3f2a9c1e`. */
  flow: z.string().regex(/^[\w.-]{1,120}$/, 'the name of a flow'),
  /** What a worker must offer besides the stage. */
  tags: z
    .array(z.string().regex(/^[\w-]{1,30}$/, 'a tag'))
    .max(8)
    .default([]),
  /** The folder that the person named: a path as every machine sees it, or s3://bucket/prefix. */
  out: z.string().min(1).max(4096),
  settings: json,
} as const;

/** A stage of a pipeline; its folder is `out/STAGE-KEY8`. */
const stageMessage = z.strictObject({
  ...base,
  type: z.literal('stage'),
  version: z.int().positive(),
  /** Hash of all that determines the stage's files; the worker computes it again from what it sees. */
  key: hash,
  /** What the key was made of, so that a machine that sees other files can say which. */
  identity: json.optional(),
  /** Where it was queued: reports write paths as they are seen from there, wherever the worker runs. */
  cwd: z.string().min(1).max(4096).optional(),
  /** Keys of the stages it reads. */
  inputs: z.record(z.string(), hash),
  /** Into how many parts it may be split. */
  parts: z.int().min(1).max(4096).optional(),
  /** Folders of all runs in which the same key was queued, the first first: one that is finished is as good as another. */
  elsewhere: z.array(z.string().min(1).max(4096)).max(MAX_ELSEWHERE).optional(),
  /** `split`: decide what can be shared out; `join`: the parts are done, put them together. */
  phase: z.enum(['split', 'join']).default('split'),
  /** One share of the stage's work (see Stage.split). */
  part: z
    .strictObject({ name: z.string().regex(/^[\w-]{1,80}(\.[\w-]{1,80})?$/, 'a short name'), of: json })
    .optional(),
});

/** A command of its own (`unfold enqueue train --shards …`): the library function's options; it writes to `out` itself. */
const directMessage = z.strictObject({ ...base, type: z.literal('direct') });

/** The end of a flow: all stages are done; its result is what `unfold run --json` prints. */
const pipelineMessage = z.strictObject({
  ...base,
  type: z.literal('pipeline'),
  /** Stage → key. */
  stages: z.record(z.string(), hash),
});

/** See the fields. */
export const jobMessage = z.discriminatedUnion('type', [stageMessage, directMessage, pipelineMessage]);
export type JobMessage = z.output<typeof jobMessage>;
export type StageJob = z.output<typeof stageMessage>;
export type DirectJob = z.output<typeof directMessage>;
export type PipelineJob = z.output<typeof pipelineMessage>;

/** The job's id in its queue: readable, and the same for the same work, so that work queued twice is one job. */
export function jobId(message: JobMessage): string {
  const part = message.type === 'stage' && message.part ? `.${message.part.name}` : '';
  return `${message.flow}.${message.stage}${part}`;
}

/** Messages are names and numbers; what is larger was not made by Unfold. */
export const MAX_MESSAGE_BYTES = 256 * 1024;

/** Levels of a message; the deepest of ours has 12. */
const MOST_LEVELS = 64;

/**
 * What no message of ours holds and a schema does not see: levels without end, and the name `__proto__`, which copies of an
 * object lose, so that what was checked would not be what is used.
 */
function strangeIn(data: unknown): string | undefined {
  const left: [value: unknown, level: number][] = [[data, 0]];
  for (let next = left.pop(); next; next = left.pop()) {
    const [value, level] = next;
    if (typeof value !== 'object' || value === null) continue;
    if (level >= MOST_LEVELS) return `values in more than ${MOST_LEVELS} levels`;
    if (Object.hasOwn(value, '__proto__')) return 'a value called __proto__';
    for (const inner of Object.values(value)) left.push([inner, level + 1]);
  }
  return undefined;
}

/**
 * Checks a message from the queue.
 * @throws UnfoldError `bad-job` that says which field is wrong; such a job is never retried
 */
export function parseMessage(data: unknown, where: string): JobMessage {
  const strange = strangeIn(data);
  const parsed = strange === undefined ? jobMessage.safeParse(data) : undefined;
  if (parsed?.success) return parsed.data;
  throw new UnfoldError('bad-job', {
    where,
    expected: 'a message of this version of Unfold (unfold.job/1)',
    found: strange ?? z.prettifyError(parsed!.error!).replaceAll('\n', ' '),
    todo: 'queue the work again with unfold enqueue, by the same version that the worker has',
  });
}
