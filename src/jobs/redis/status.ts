/** @file What `unfold queue` shows: the server, what is to be thought of it, the queues and the workers. Starts nothing. */
import type { Cluster, Redis } from 'ioredis';
import type { StageContext } from '../../context.ts';
import { KEYS, PREFIX, type WorkerRecord } from '../names.ts';
import { workers } from '../watch/workers.ts';
import { ask } from './ask.ts';
import { connectRedis, hangUp } from './connect.ts';
import type { ServerFacts } from './inspect.ts';
import { type Judgement, judgeServers, redisCli } from './judge.ts';
import { connectionOf, namedQueue } from './open.ts';
import { privatePlace, readRecord, type ServerRecord } from './place.ts';
import { parseRedisUrl, type RedisAddress } from './url.ts';

/** Sets of a queue in which a job can be, as BullMQ calls them. */
const LISTS = ['active', 'wait', 'paused'] as const;
const SORTED = ['prioritized', 'delayed', 'waiting-children', 'completed', 'failed'] as const;

/** States of jobs in a queue; `waiting` has the prioritised ones too. */
export interface QueueCounts {
  name: string;
  /** No worker takes from it (`unfold jobs pause`). */
  paused: boolean;
  waiting: number;
  active: number;
  delayed: number;
  waiting_children: number;
  completed: number;
  failed: number;
}

/** The queue as it is now. */
export interface QueueStatus {
  /** Without passwords. */
  url: string;
  /** True for this machine's own server. */
  private: boolean;
  running: boolean;
  /** Of the private server: its data, and who has it. */
  folder?: string;
  process?: ServerRecord;
  /** Every master. */
  servers: ServerFacts[];
  judgements: Judgement[];
  queues: QueueCounts[];
  workers: WorkerRecord[];
}

/**
 * Looks at the queue that `url`, UNFOLD_QUEUE or this machine name. A private server that does not run is left alone.
 * @throws UnfoldError `bad-queue` or `no-redis` if a named one does not answer
 */
export async function queueStatus(url: string | undefined, context: StageContext): Promise<QueueStatus> {
  const named = namedQueue(url);
  if (named) return look(parseRedisUrl(named.url, named.by), context, { private: false });
  const place = privatePlace();
  const record = await readRecord(place);
  const own = { private: true, folder: place.folder, ...(record ? { process: record } : {}) };
  if ((await ask(place.socket)) !== 'gone') return look(parseRedisUrl(place.url), context, own);
  return { url: place.url, running: false, servers: [], judgements: [], queues: [], workers: [], ...own };
}

async function look(
  address: RedisAddress,
  context: StageContext,
  own: Pick<QueueStatus, 'private' | 'folder' | 'process'>,
): Promise<QueueStatus> {
  const client = await connectRedis(address, context);
  try {
    const { servers, judgements } = await judgeServers(client, address);
    const readable = async <T>(key: string, read: () => Promise<T[]>): Promise<T[]> => {
      try {
        return await read();
      } catch (error) {
        if (!/WRONGTYPE/.test((error as Error).message)) throw error;
        judgements.push(overwritten(key, address, servers[0]!));
        return [];
      }
    };
    const queues = await readable(KEYS.queues, () => countJobs(client));
    if (!/^(hash|none)$/.test(await client.type(KEYS.workers)))
      judgements.push(overwritten(KEYS.workers, address, servers[0]!));
    const alive = await workers(connectionOf(client, address, servers));
    return { url: address.shown, running: true, ...own, servers, judgements, queues, workers: alive };
  } finally {
    hangUp(client);
  }
}

/** Nothing that cannot be made again was in it: the next job and the next heartbeat write it anew. */
function overwritten(key: string, address: RedisAddress, server: ServerFacts): Judgement {
  const lesson = { where: address.shown, expected: `Unfold's own data in ${key}`, found: 'something else' };
  return { severity: 'warning', lesson: { ...lesson, todo: `${redisCli(address, server)} del ${key}` } };
}

/** Number of jobs by queue and state; queues in the order of their names. */
export async function countJobs(client: Redis | Cluster): Promise<QueueCounts[]> {
  const names = (await client.smembers(KEYS.queues)).sort();
  if (names.length === 0) return [];
  const pipeline = client.pipeline();
  for (const name of names) {
    pipeline.hexists(`${PREFIX}:${name}:meta`, 'paused');
    for (const list of LISTS) pipeline.llen(`${PREFIX}:${name}:${list}`);
    for (const set of SORTED) pipeline.zcard(`${PREFIX}:${name}:${set}`);
  }
  const answers = (await pipeline.exec()) ?? [];
  const width = 1 + LISTS.length + SORTED.length;
  return names.map((name, index) => {
    // A key of another type is garbage that somebody put there: counted as nothing.
    const row = answers
      .slice(index * width, (index + 1) * width)
      .map(([error, value]) => (error ? 0 : Number(value)));
    const [paused, active, wait, resting, prioritized, delayed, children, completed, failed] = row as [
      ...[number, number, number, number, number, number, number, number, number],
    ];
    return {
      name,
      paused: paused === 1,
      waiting: wait + resting + prioritized,
      active,
      delayed,
      waiting_children: children,
      completed,
      failed,
    };
  });
}
