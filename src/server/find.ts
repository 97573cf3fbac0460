/** @file Finds the job or flow that an address names: exactly, unlike the command line, which takes the beginning. */
import { UnfoldError } from '../errors.ts';
import { below, resolve, type Target } from '../jobs/watch/resolve.ts';
import { type FlowView, type JobView, jobsOf } from '../jobs/watch/view.ts';
import type { World } from './world.ts';

/** A job with its flow. */
export type FoundJob = Target & { job: JobView };

/**
 * The job as it was a second ago at most. `queue` tells apart jobs of one id in several queues, which only foreign jobs are.
 * @throws UnfoldError `no-such-job`
 */
export async function findJob(world: World, id: string, queue?: string): Promise<FoundJob> {
  const state = await world.feed.now();
  for (const flow of state.trouble ? [] : state.flows) {
    const job = jobsOf(flow).find((one) => one.id === id && (queue === undefined || one.queue === queue));
    if (job) return { flow, job, jobs: [job] };
  }
  return findJobNow(world, id, queue);
}

/** The same, read anew: for whoever wants to change it. */
export async function findJobNow({ connection }: World, id: string, queue?: string): Promise<FoundJob> {
  const { flow, job: found, jobs } = await resolve(connection, id);
  const fits = (one: JobView) => one.id === id && (queue === undefined || one.queue === queue);
  const job = [...(found ? [found] : []), ...jobs].find(fits);
  if (!job) throw missing(`job ${id}`);
  return { flow, job, jobs: below(job) };
}

/** The flow of exactly this id, as it was a second ago at most. @throws UnfoldError `no-such-job` */
export async function findFlow(world: World, id: string): Promise<FlowView> {
  const state = await world.feed.now();
  const flow = state.trouble ? undefined : state.flows.find((one) => one.id === id);
  return flow ?? (await findFlowNow(world, id)).flow;
}

/** The same, read anew: for whoever wants to change it. */
export async function findFlowNow({ connection }: World, id: string): Promise<Target> {
  const target = await resolve(connection, id);
  if (target.flow.id !== id) throw missing(`flow ${id}`);
  return { flow: target.flow, jobs: jobsOf(target.flow) };
}

function missing(where: string): UnfoldError {
  return new UnfoldError('no-such-job', {
    where,
    expected: 'an id as /api/flows lists it',
    found: 'none in this queue; it may have been removed',
    todo: 'look at /api/flows?all',
  });
}
