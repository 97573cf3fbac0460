/**
 * @file The way to the queue: everything in Unfold that talks to Redis gets its connection here.
 */
import type { Cluster, Redis } from 'ioredis';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { PREFIX } from '../names.ts';
import { connectRedis, hangUp, outliveFailovers } from './connect.ts';
import type { ServerFacts } from './inspect.ts';
import { type Judgement, judgeServers, tryWriting } from './judge.ts';
import { privatePlace } from './place.ts';
import { startPrivateServer } from './private-server.ts';
import { reviveServer } from './revive.ts';
import { parseRedisUrl, type RedisAddress } from './url.ts';

/** An open queue. */
export interface QueueConnection {
  /** Where it is, without passwords. */
  url: string;
  /** ioredis, for keys of our own. Commands wait for Redis's return rather than fail. */
  client: Redis | Cluster;
  /** To be spread into the options of Queue, Worker, FlowProducer and QueueEvents. */
  bullmq(): { connection: Redis | Cluster; prefix: string; skipVersionCheck?: boolean };
  /** Redis's clock, milliseconds since 1970: clocks of machines differ. */
  time(): Promise<number>;
  /** Ends the connection. BullMQ's objects that use it are to be closed before. Never hangs. */
  close(): Promise<void>;
}

/** For whom the queue is opened. */
export interface OpenOptions {
  /** Who only looks at jobs and removes some is let in although no job could be added, and hears no warnings. */
  looking?: boolean;
}

/**
 * Opens the queue at `url`, else at UNFOLD_QUEUE, else the private server of this machine, which is started if need be.
 * @throws UnfoldError `bad-queue` (the URL, or what its user may do), `no-redis` (nobody there, nothing installed),
 *   `bad-redis` (a server that would lose jobs)
 */
export async function openQueue(
  url: string | undefined,
  context: StageContext,
  { looking = false }: OpenOptions = {},
): Promise<QueueConnection> {
  const named = namedQueue(url);
  const place = privatePlace();
  if (!named) await startPrivateServer(context, place);
  const address = named ? parseRedisUrl(named.url, named.by) : parseRedisUrl(place.url);
  const client = await connectRedis(address, context);
  try {
    const { servers, judgements } = await judgeServers(client, address);
    report(judgements, looking ? { ...context, note() {}, warn() {} } : context);
    if (!looking) await tryWriting(client, address);
    outliveFailovers(client);
    if (!named) reviveServer(client, place, context);
    return connectionOf(client, address, servers);
  } catch (error) {
    hangUp(client);
    throw error;
  }
}

/** The URL that somebody gave, and how; undefined if it is to be the private server. */
export function namedQueue(
  url: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): { url: string; by: string } | undefined {
  if (url) return { url, by: '--queue' };
  if (env.UNFOLD_QUEUE) return { url: env.UNFOLD_QUEUE, by: 'UNFOLD_QUEUE' };
  return undefined;
}

function report(judgements: readonly Judgement[], context: StageContext): void {
  const error = judgements.find(({ severity }) => severity === 'error');
  if (error) throw new UnfoldError('bad-redis', error.lesson);
  for (const { severity, lesson } of judgements) {
    const { where, expected, found, todo } = lesson;
    const line = `${where}: ${found}; expected ${expected}. To mend: ${todo}`;
    if (severity === 'warning') context.warn(line);
    else context.note(line);
  }
}

/** A connection that was looked at, as everybody uses it. */
export function connectionOf(
  client: Redis | Cluster,
  address: RedisAddress,
  servers: readonly ServerFacts[],
): QueueConnection {
  // BullMQ would say the same about the policy on the console, once for every queue.
  const said = servers.some(({ policy }) => policy !== undefined && policy !== 'noeviction');
  return {
    url: address.shown,
    client,
    bullmq: () => ({ connection: client, prefix: PREFIX, ...(said ? { skipVersionCheck: true } : {}) }),
    time: () => redisTime(client),
    close: () => closeClient(client),
  };
}

/** Milliseconds by the clock of the server that holds the queue (in a Cluster: of the node that does at the moment). */
async function redisTime(client: Redis | Cluster): Promise<number> {
  const answer = await client.eval("return redis.call('TIME')", 1, `${PREFIX}:unfold-time`);
  const [seconds, microseconds] = answer as [string, string];
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

/** QUIT lets what was sent arrive; a server that is away is not waited for. */
async function closeClient(client: Redis | Cluster): Promise<void> {
  if (client.status === 'ready') {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, 2000)));
    await Promise.race([client.quit().catch(() => undefined), late]);
    clearTimeout(timer);
  }
  hangUp(client);
}
