/**
 * @file Stops jobs. What no worker has yet is failed here at once, in one script, so that no worker can take the job in
 * between. For the others a request lies in Redis (KEYS.cancel): a worker that has the job, or meets it later, fails it for
 * that and takes the request away. So a job that failed can be tried again with any tool that knows BullMQ.
 */
import type { ChainableCommander } from 'ioredis';
import { type CancelRequest, KEYS } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';
import { CANCELLED } from './job-view.ts';
import { parseJobKey, queueKey } from './read.ts';
import type { Target } from './resolve.ts';
import type { JobView } from './view.ts';

/** What became of each job. Ids. */
export interface Cancelled {
  /** Were waiting, and are failed now. */
  cancelled: string[];
  /** Are running: their workers stop them within seconds, with a checkpoint. */
  asked: string[];
  /** Waited for those: they will not run. */
  held: string[];
  /** Had ended before. */
  ended: string[];
}

/**
 * KEYS: request hash, job, wait, paused, prioritized, delayed, failed, waiting-children, events.
 * ARGV: id, request, failedReason, now. The sets are BullMQ's (removeJobFromAnyState.lua, moveToFinished-14.lua); jobs that
 * wait have no lock, and ours never carry flags by which a failure reaches the parent.
 */
const SCRIPT = `
local id = ARGV[1]
local prev
if redis.call('ZREM', KEYS[6], id) == 1 then prev = 'delayed'
elseif redis.call('ZREM', KEYS[5], id) == 1 then prev = 'prioritized'
elseif redis.call('LREM', KEYS[3], 1, id) == 1 or redis.call('LREM', KEYS[4], 1, id) == 1 then prev = 'waiting'
elseif redis.call('ZSCORE', KEYS[8], id) then
  redis.call('HSET', KEYS[1], id, ARGV[2])
  return 'held'
elseif redis.call('HEXISTS', KEYS[2], 'finishedOn') == 1 or redis.call('EXISTS', KEYS[2]) == 0 then return 'ended'
else
  redis.call('HSET', KEYS[1], id, ARGV[2])
  return 'asked'
end
redis.call('HDEL', KEYS[1], id)
redis.call('ZADD', KEYS[7], ARGV[4], id)
redis.call('HSET', KEYS[2], 'failedReason', ARGV[3], 'finishedOn', ARGV[4])
redis.call('XADD', KEYS[9], 'MAXLEN', '~', 10000, '*', 'event', 'failed', 'jobId', id, 'failedReason', ARGV[3], 'prev', prev)
return 'cancelled'`;

const PLACES = ['wait', 'paused', 'prioritized', 'delayed', 'failed', 'waiting-children', 'events'];

/** Jobs in one round trip. */
const PAGE = 500;

/**
 * Cancels a flow, or a job with its parts (not the earlier stages that it waits for: other work may need them).
 */
export async function cancel(
  connection: QueueConnection,
  target: Target,
  request: CancelRequest,
): Promise<Cancelled> {
  const jobs = target.job ? withParts(target.job) : target.jobs;
  const result: Cancelled = { cancelled: [], asked: [], held: [], ended: [] };
  // Those that wait for others come first: else a worker could finish the last child, and begin the parent.
  const order = jobs.toReversed();
  await cancelEach(connection, order, request, result);
  const going = new Set([...result.asked, ...result.held]);
  const known = new Set(jobs.map(({ id }) => id));
  for (const job of order.filter(({ id }) => going.has(id))) {
    const parts = (await partsOf(connection, job)).filter(({ id }) => !known.has(id));
    await cancelEach(connection, parts, request, result);
  }
  return result;
}

/** Where a job lies. */
type Place = Pick<JobView, 'queue' | 'id'>;

/** Cancels exactly these; adds to `result` what became of each. */
async function cancelEach(
  connection: QueueConnection,
  jobs: readonly Place[],
  request: CancelRequest,
  result: Cancelled,
): Promise<void> {
  const now = await connection.time();
  for (let at = 0; at < jobs.length; at += PAGE) {
    const page = jobs.slice(at, at + PAGE);
    const pipeline = connection.client.pipeline();
    for (const job of page) queueScript(pipeline, job, request, now);
    const replies = (await pipeline.exec()) ?? [];
    for (const [index, job] of page.entries()) {
      const [error, outcome] = replies[index] ?? [];
      if (error) throw error;
      result[outcome as keyof Cancelled].push(job.id);
    }
  }
}

/**
 * Cancels the parts into which a worker has just shared out a job that was cancelled meanwhile. The one who cancels writes
 * the request, then looks for parts; the worker adds the parts, then looks for a request: one of them sees the other.
 */
export async function cancelParts(
  connection: QueueConnection,
  job: Place,
  request: CancelRequest,
): Promise<void> {
  const result: Cancelled = { cancelled: [], asked: [], held: [], ended: [] };
  await cancelEach(connection, await partsOf(connection, job), request, result);
}

/** Unfinished parts, as BullMQ keeps them beside their parent. */
async function partsOf({ client }: QueueConnection, { queue, id }: Place): Promise<Place[]> {
  const keys = await client.smembers(`${queueKey(queue, id)}:dependencies`).catch(() => []);
  return keys.flatMap((key) => {
    const child = parseJobKey(key);
    return child?.id.startsWith(`${id}.`) ? [child] : [];
  });
}

/** The sentence that a cancelled job fails with. */
export function cancelReason({ by, reason }: CancelRequest): string {
  return `${CANCELLED}${by}${reason ? `: ${reason}` : ''}`;
}

function queueScript(pipeline: ChainableCommander, job: Place, request: CancelRequest, now: number): void {
  const keys = [KEYS.cancel, queueKey(job.queue, job.id), ...PLACES.map((name) => queueKey(job.queue, name))];
  pipeline.eval(
    SCRIPT,
    keys.length,
    ...keys,
    ...[job.id, JSON.stringify(request), cancelReason(request), now],
  );
}

function withParts(job: JobView): JobView[] {
  return [...job.children.filter(({ part }) => part !== undefined).flatMap(withParts), job];
}
