/**
 * @file What a person can do to jobs from outside: try them again, let queues rest, remove what has ended. Cancelling is in
 * cancel.ts. Nothing here touches a file: what a job made stays, and whatever is queued again goes on from there.
 */
import { Job, Queue } from 'bullmq';
import { UnfoldError } from '../../errors.ts';
import { KEYS, parseQueueName } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';
import { queueKey, queueNames } from './read.ts';
import { ended, type FlowView, type JobView, jobsOf } from './view.ts';

export { type Cancelled, cancel } from './cancel.ts';
export { resolve, type Target } from './resolve.ts';

/** Jobs handled at the same time. */
const PAGE = 200;

/** See {@link retry}. Ids. */
export interface Retried {
  retried: string[];
  /** Waiting or running jobs, whose cancellation was taken back. */
  released: string[];
  /** Jobs that cannot be helped by another attempt, and why. */
  refused: { id: string; why: string }[];
}

/**
 * Tries failed and cancelled jobs again, with all their attempts; takes back cancellations that have not worked yet. Those
 * that wait for them go on by themselves afterwards.
 */
export async function retry(connection: QueueConnection, jobs: readonly JobView[]): Promise<Retried> {
  const result: Retried = { retried: [], released: [], refused: [] };
  const queues = queueCache(connection);
  try {
    await inPages(jobs, async (job) => {
      const held = job.cancel && (await connection.client.hdel(KEYS.cancel, job.id)) > 0;
      if (job.finished === undefined || (job.state !== 'failed' && job.state !== 'cancelled')) {
        if (held) result.released.push(job.id);
      } else if (job.problem) result.refused.push({ id: job.id, why: job.problem });
      else {
        const why = await retryOne(connection, queues.get(job.queue), job);
        if (why) result.refused.push({ id: job.id, why });
        else result.retried.push(job.id);
      }
    });
  } finally {
    await queues.close();
  }
  return result;
}

/** Stalls are counted over a job's life and limited; a person's retry is a new life. */
async function retryOne(
  connection: QueueConnection,
  queue: Queue,
  { queue: name, id }: JobView,
): Promise<string | undefined> {
  await connection.client.hdel(queueKey(name, id), 'stc', 'defa');
  try {
    await new Job(queue, name, {}, {}, id).retry('failed', {
      resetAttemptsMade: true,
      resetAttemptsStarted: true,
    });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** See {@link pause}. */
export interface Rested {
  queues: string[];
  /** Jobs of these queues that run on to their end. */
  running: number;
}

/**
 * Lets the queues of these stages rest (all queues if none is named): nothing new is begun, what runs goes on.
 * @throws UnfoldError `no-such-stage`
 */
export async function pause(connection: QueueConnection, stages: readonly string[]): Promise<Rested> {
  return eachQueue(connection, stages, (queue) => queue.pause());
}

/** Ends the rest. @throws as {@link pause} */
export async function resume(connection: QueueConnection, stages: readonly string[]): Promise<Rested> {
  return eachQueue(connection, stages, (queue) => queue.resume());
}

async function eachQueue(
  connection: QueueConnection,
  stages: readonly string[],
  act: (queue: Queue) => Promise<void>,
): Promise<Rested> {
  const known = await queueNames(connection.client);
  const names = known.filter(
    (name) => stages.length === 0 || stages.includes(name) || stages.includes(parseQueueName(name).stage),
  );
  const missing = stages.filter((stage) => !names.some((name) => name === stage || belongs(name, stage)));
  if (missing.length > 0) throw noSuchStage(missing, known);
  const queues = queueCache(connection);
  try {
    const running = await Promise.all(
      names.map(async (name) => {
        await act(queues.get(name));
        return queues.get(name).getActiveCount();
      }),
    );
    return { queues: names, running: running.reduce((sum, count) => sum + count, 0) };
  } finally {
    await queues.close();
  }
}

function belongs(queue: string, stage: string): boolean {
  return parseQueueName(queue).stage === stage;
}

function noSuchStage(missing: readonly string[], known: readonly string[]): UnfoldError {
  return new UnfoldError('no-such-stage', {
    where: `stage ${missing.join(', ')}`,
    expected: 'a stage that ever had a job in this queue',
    found: known.length ? `only: ${known.join(', ')}` : 'none at all',
    todo: 'name one of them, or none for all of them',
  });
}

/** Which flows {@link clean} removes: ended ones only, whatever is asked. */
export interface CleanFilter {
  completed?: boolean;
  /** Failed and cancelled ones. */
  failed?: boolean;
  /** Milliseconds since their end. */
  olderThan?: number;
}

/** The flows that a cleaning would remove. `now`: Redis's clock. */
export function cleanable(
  flows: readonly FlowView[],
  { completed, failed, olderThan = 0 }: CleanFilter,
  now: number,
): FlowView[] {
  return flows.filter((flow) => {
    if (!ended(flow)) return false;
    const asked = flow.state === 'completed' ? completed : failed;
    return Boolean(asked) && now - (flow.finished ?? flow.created) >= olderThan;
  });
}

/** See {@link clean}. Ids of flows. */
export interface Cleaned {
  removed: string[];
  jobs: number;
  /** Not removed as a whole: a worker has one of their jobs again, or Redis holds something else under its id. */
  kept: string[];
}

/** Removes ended flows from Redis, with their logs. Files stay. */
export async function clean(connection: QueueConnection, flows: readonly FlowView[]): Promise<Cleaned> {
  const result: Cleaned = { removed: [], jobs: 0, kept: [] };
  const queues = queueCache(connection);
  try {
    for (const flow of flows.filter(ended)) {
      // Parents first: BullMQ lets a parent run when the last child that it waits for is removed.
      const jobs = jobsOf(flow).toReversed();
      let removed = 0;
      for (const level of levels(jobs)) {
        await inPages(level, async ({ queue, id }) => {
          // Keys of a wrong type, which only garbage has, make BullMQ's script fail: such a job stays.
          const gone = await queues
            .get(queue)
            .remove(id, { removeChildren: false })
            .catch(() => 0);
          if (gone === 1) removed++;
        });
      }
      if (jobs.length) await connection.client.hdel(KEYS.cancel, ...jobs.map(({ id }) => id));
      result.jobs += removed;
      (removed === jobs.length ? result.removed : result.kept).push(flow.id);
    }
  } finally {
    await queues.close();
  }
  return result;
}

/** Jobs that have a child come one by one, those without any together. */
function levels(jobs: readonly JobView[]): JobView[][] {
  const leaves = jobs.filter(({ children }) => children.length === 0);
  return [...jobs.filter(({ children }) => children.length > 0).map((job) => [job]), leaves];
}

async function inPages<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += PAGE)
    await Promise.all(items.slice(at, at + PAGE).map((item) => act(item)));
}

function queueCache(connection: QueueConnection) {
  const open = new Map<string, Queue>();
  return {
    get(name: string): Queue {
      const known = open.get(name);
      if (known) return known;
      const queue = new Queue(name, connection.bullmq());
      // Without a listener a connection that is lost would end the process; what it was asked for fails anyway.
      queue.on('error', () => undefined);
      open.set(name, queue);
      return queue;
    },
    close: async () => void (await Promise.all([...open.values()].map((queue) => queue.close()))),
  };
}
