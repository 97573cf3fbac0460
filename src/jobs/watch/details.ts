/** @file Everything about one job, and what can be done about it: `unfold jobs show`. */

import type { JobMessage } from '../message.ts';
import { parseMessage } from '../message.ts';
import type { QueueConnection } from '../redis/open.ts';
import { jsonOf, queueKey, readField } from './read.ts';
import type { Target } from './resolve.ts';
import { type FlowView, type JobView, jobsOf } from './view.ts';

/** A job with what the list leaves out. */
export interface JobDetails extends Omit<JobView, 'children'> {
  /** The message itself; absent of garbage, whose text is in `garbage`. */
  message?: JobMessage;
  /** The first kilobytes of data that is no message. */
  garbage?: string;
  /** Where its files are, of a stage: `out/STAGE-KEY8`. */
  folder?: string;
  /** Number of lines in its log. */
  logLines: number;
  /** Stack of the last failure, for faults of ours. */
  stack?: string;
  /** Jobs that wait for it, nearest first. */
  ancestors: string[];
  children: { id: string; state: JobView['state'] }[];
  /** Commands that make sense now. */
  commands: [command: string, meaning: string][];
}

const GARBAGE_SHOWN = 2000;

/** Reads the rest of a job. */
export async function details(
  connection: QueueConnection,
  { flow, job }: Target & { job: JobView },
): Promise<JobDetails> {
  const key = queueKey(job.queue, job.id);
  const [data, traces, logLines] = await Promise.all([
    readField(connection.client, key, 'data'),
    readField(connection.client, key, 'stacktrace'),
    connection.client.llen(`${key}:logs`).catch(() => 0),
  ]);
  const message = job.problem ? undefined : parseMessage(jsonOf(data ?? ''), job.id);
  const stack = lastOf(jsonOf(traces ?? ''));
  const folder =
    message?.type === 'stage' ? `${message.out}/${message.stage}-${message.key.slice(0, 8)}` : '';
  return {
    ...job,
    ...(message ? { message } : { garbage: (data ?? '').slice(0, GARBAGE_SHOWN) }),
    ...(folder && { folder }),
    ...(stack && { stack }),
    logLines,
    ancestors: ancestorsOf(job, flow),
    children: job.children.map(({ id, state }) => ({ id, state })),
    commands: commandsFor(job),
  };
}

function ancestorsOf(job: JobView, flow: FlowView): string[] {
  const byId = new Map(jobsOf(flow).map((each) => [each.id, each]));
  const ids: string[] = [];
  for (let up = job.parent; up !== undefined && !ids.includes(up); up = byId.get(up)?.parent) ids.push(up);
  return ids;
}

/** What a person may want to do about a job, or a whole flow, next. */
export function commandsFor(view: JobView | FlowView): [string, string][] {
  const { state } = view;
  const id = quoted(view.id);
  const log: [string, string] = [`unfold jobs log ${id}`, 'what it said'];
  const stop: [string, string] = [`unfold jobs cancel ${id}`, 'stop it'];
  const again: [string, string] = [`unfold jobs retry ${id}`, 'try it again; it goes on where it was'];
  const remove: [string, string] = [
    `unfold jobs clean --flow ${'flow' in view ? quoted(view.flow) : id} --yes`,
    'forget it; its files stay',
  ];
  if ('problem' in view && view.problem) return [remove];
  switch (state) {
    case 'failed':
    case 'cancelled':
      return [log, again, remove];
    case 'completed':
      return [log, remove];
    case 'blocked':
      return [[`unfold jobs show ${quoted(view.blockedBy?.[0] ?? view.id)}`, 'why it is blocked'], again];
    case 'active':
      return [[`unfold jobs log ${id} --follow`, 'watch what it says'], stop];
    case 'paused':
      return [['unfold jobs resume', 'let the queues go on'], stop];
    default:
      return [stop];
  }
}

/** An id as a shell takes it; only garbage needs quotes. */
function quoted(id: string): string {
  return /^[\w.@+-]+$/.test(id) ? id : `'${id.replaceAll("'", "'\\''")}'`;
}

function lastOf(traces: unknown): string | undefined {
  const last: unknown = Array.isArray(traces) ? traces.at(-1) : undefined;
  return typeof last === 'string' ? last : undefined;
}
