/** @file Finds the job or the flow that a person means by the beginning of its id. */
import { nearest, UnfoldError } from '../../errors.ts';
import { printable } from '../../printable.ts';
import type { QueueConnection } from '../redis/open.ts';
import { guessFlow } from './job-view.ts';
import { findJobs, queueNames } from './read.ts';
import { readFlows } from './snapshot.ts';
import { type FlowView, type JobView, jobsOf } from './view.ts';

/** What was meant: a flow, or one job of it. */
export interface Target {
  flow: FlowView;
  /** Absent where the whole flow is meant. */
  job?: JobView;
  /** The jobs concerned: all of the flow, or the job with everything below it. Children first. */
  jobs: JobView[];
}

/** Ids compared with a mistyped one, and named in a message. */
const COMPARED = 5000;
const NAMED = 6;

/**
 * The flow or job whose id is `text`, or the only one that begins so; a flow before its jobs.
 * @throws UnfoldError `no-such-job`, `ambiguous-job`
 */
export async function resolve(connection: QueueConnection, text: string): Promise<Target> {
  const found = await findJobs(connection.client, await queueNames(connection.client));
  const likely = new Set(
    found.filter(({ id }) => id.startsWith(text)).map(({ queue, id }) => guessFlow(queue, id)),
  );
  if (text === '' || likely.size === 0) {
    throw unknown(
      text,
      found.map(({ queue, id }) => [guessFlow(queue, id), id]),
    );
  }
  const exact = likely.has(text) ? new Set([text]) : likely;
  const chosen = found.filter(({ queue, id }) => exact.has(guessFlow(queue, id)));
  const flows = await readFlows(connection, chosen, await connection.time());
  return byFlow(flows, text) ?? byJob(flows, text);
}

/** A job and everything below it, children first. */
export function below(job: JobView): JobView[] {
  return [...job.children.flatMap(below), job];
}

function byFlow(flows: readonly FlowView[], text: string): Target | undefined {
  const exact = flows.find(({ id }) => id === text);
  const alike = flows.filter(({ id }) => id.startsWith(text));
  if (!exact && alike.length > 1) {
    throw ambiguous(
      text,
      alike.map(({ id }) => id),
    );
  }
  const flow = exact ?? alike[0];
  return flow && { flow, jobs: jobsOf(flow) };
}

function byJob(flows: readonly FlowView[], text: string): Target {
  const all = flows.flatMap((flow) => jobsOf(flow).map((job) => ({ flow, job })));
  const exact = all.filter(({ job }) => job.id === text);
  const alike = exact.length ? exact : all.filter(({ job }) => job.id.startsWith(text));
  const [only, ...others] = alike;
  if (!only)
    throw unknown(
      text,
      all.map(({ job }) => [job.id]),
    );
  if (others.length > 0) {
    throw ambiguous(
      text,
      alike.map(({ job }) => (exact.length ? `${job.id} in ${job.queue}` : job.id)),
    );
  }
  return { ...only, jobs: below(only.job) };
}

function unknown(text: string, ids: readonly string[][]): UnfoldError {
  const known = [...new Set(ids.flat())].slice(0, COMPARED);
  const close = nearest(text, known, NAMED);
  return new UnfoldError('no-such-job', {
    where: `job ${text || '""'}`,
    expected: 'the id of a job or of a flow, or the beginning of one',
    found: known.length
      ? `none that begins so; nearest: ${printable(close.join(', '))}`
      : 'no jobs at all in this queue',
    todo: 'unfold jobs --all lists them',
  });
}

function ambiguous(text: string, ids: readonly string[]): UnfoldError {
  const more = ids.length > NAMED ? ` and ${ids.length - NAMED} more` : '';
  return new UnfoldError('ambiguous-job', {
    where: `job ${text}`,
    expected: 'the beginning of one id',
    found: `${ids.length} that begin so: ${printable(ids.slice(0, NAMED).join(', '))}${more}`,
    todo: 'type a few characters more',
  });
}
