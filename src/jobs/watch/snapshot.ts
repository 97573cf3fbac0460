/**
 * @file All flows of a queue at one moment, as plain data (view.ts): which job is where in one script, then the jobs'
 * hashes page by page. A job that moves between the two is shown where it was.
 */
import { z } from 'zod';
import { type CancelRequest, KEYS, parseQueueName, type WorkerRecord } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';
import { flowsOf } from './flow-view.ts';
import { guessFlow, viewJob } from './job-view.ts';
import { type Found, findJobs, jsonOf, parseJobKey, queueNames, readHash, readJobs } from './read.ts';
import type { FlowView, JobView, SnapshotFilter } from './view.ts';
import { workers } from './workers.ts';

export type { FlowView, JobState, JobView, SnapshotFilter } from './view.ts';
export { workers } from './workers.ts';

const cancelRequest: z.ZodType<CancelRequest> = z.object({ by: z.string(), reason: z.string() });

/** Flows, newest first. Jobs whose data is garbage are listed too, with a `problem`. */
export async function snapshot(
  connection: QueueConnection,
  filter: SnapshotFilter = {},
): Promise<FlowView[]> {
  const now = await connection.time();
  const found = await findJobs(connection.client, await queueNames(connection.client));
  const flows = await readFlows(connection, wanted(found, filter, now), now);
  const chosen = flows
    .filter(({ id }) => id.startsWith(filter.flow ?? ''))
    .map((flow) => onlyJobs(flow, filter))
    .filter((flow) => flow.roots.length > 0);
  return chosen.slice(0, filter.limit);
}

/** The flows of jobs that were found, as whole as the jobs are. */
export async function readFlows(
  connection: QueueConnection,
  found: readonly Found[],
  now: number,
): Promise<FlowView[]> {
  const { client } = connection;
  const [raw, cancelled, alive] = await Promise.all([
    readJobs(client, found),
    readHash(client, KEYS.cancel),
    workers(connection),
  ]);
  const linked = raw.map((job) => ({
    view: withWorker(viewJob(job, cancelOf(cancelled.get(job.id)), now), alive),
    parent: parseJobKey(job.fields?.parentKey ?? ''),
  }));
  return flowsOf(linked, now);
}

/** Jobs worth reading, as far as that can be told from their ids and places. */
function wanted(found: readonly Found[], filter: SnapshotFilter, now: number): Found[] {
  const named = filter.flow ? found.filter(({ id }) => id.startsWith(filter.flow!)) : [...found];
  if (filter.completedWithin === undefined) return named;
  const since = now - filter.completedWithin;
  const fresh = new Set<string>();
  for (const { queue, id, place, score } of named) {
    if (place !== 'completed' || score >= since) fresh.add(guessFlow(queue, id));
  }
  return named.filter(({ queue, id }) => fresh.has(guessFlow(queue, id)));
}

function cancelOf(text: string | undefined): CancelRequest | undefined {
  if (text === undefined) return undefined;
  return cancelRequest.safeParse(jsonOf(text)).data ?? { by: 'somebody', reason: '' };
}

/** Names the worker of a running job, and tells when it is silent. */
function withWorker(view: JobView, alive: readonly WorkerRecord[]): JobView {
  if (view.state !== 'active') return view;
  // The record of a worker that was killed outlives it for a while: the one that was written last counts.
  const holders = alive.filter(({ jobs }) => jobs.includes(view.id)).sort((a, b) => b.seen - a.seen);
  const holder = holders[0];
  if (holder) view.worker = { id: holder.id, host: holder.host, pid: holder.pid };
  else if (view.worker && !alive.some(({ id }) => id === view.worker?.id)) view.worker.lost = true;
  return view;
}

/** The flow with those jobs only that the filter names, each under its nearest kept ancestor. */
function onlyJobs(flow: FlowView, { states, stages }: SnapshotFilter): FlowView {
  if (!states && !stages) return flow;
  const keeps = (job: JobView) =>
    (!states || states.includes(job.state)) &&
    (!stages || stages.includes(job.stage) || stages.includes(parseQueueName(job.queue).stage));
  const prune = (jobs: JobView[]): JobView[] =>
    jobs.flatMap((job) => {
      const children = prune(job.children);
      return keeps(job) ? [{ ...job, children }] : children;
    });
  return { ...flow, roots: prune(flow.roots) };
}
