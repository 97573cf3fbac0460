/** @file Whether work that is to be queued is there already, by the queue and by the files. */
import type { Job } from 'bullmq';
import { type JobTree, messagesOf } from './flow.ts';
import { type JobMessage, jobId } from './message.ts';
import { isFinished } from './on-disk.ts';
import type { Queues } from './queues.ts';

/** What was found; see Enqueued.state. */
export interface Found {
  state: 'already queued' | 'finished before' | 'failed before' | 'absent';
  /** Ids of failed jobs. */
  failed: string[];
}

/** Looks for the root's job first; what is below it matters where it has not ended. */
export async function lookUp(tree: JobTree, queues: Queues): Promise<Found> {
  const root = await queues.job(tree.message);
  const state = (await root?.getState()) ?? 'unknown';
  if (state === 'unknown' || state === 'completed') {
    // A command of its own looks for itself what is left to do, which costs little where that is nothing.
    const looked = tree.message.type === 'pipeline' || state === 'completed';
    const finished = looked && (await isFinished(tree));
    return { state: finished ? 'finished before' : 'absent', failed: [] };
  }
  const failed = await failedBelow(tree, queues);
  return { state: failed.length > 0 ? 'failed before' : 'already queued', failed };
}

async function failedBelow(tree: JobTree, queues: Queues): Promise<string[]> {
  const failed: string[] = [];
  for (const message of messagesOf(tree)) {
    const job = await queues.job(message);
    if (!job) continue;
    if (await job.isFailed()) failed.push(job.id!);
    else if (await job.isWaitingChildren()) failed.push(...(await failedParts(job, message, queues)));
  }
  return failed;
}

/** Parts go to the queue of their stage. */
async function failedParts(job: Job, message: JobMessage, queues: Queues): Promise<string[]> {
  const { unprocessed = [] } = await job.getDependencies({ unprocessed: { count: 1000 } });
  const failed: string[] = [];
  for (const key of unprocessed) {
    const id = key.slice(key.lastIndexOf(':') + 1);
    if (!id.startsWith(`${jobId(message)}.`)) continue;
    const part = await queues.named(job.queueName).getJob(id);
    if (part && (await part.isFailed())) failed.push(id);
  }
  return failed;
}
