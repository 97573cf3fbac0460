/**
 * @file The way to the queue: everything in Unfold that talks to Redis gets its connection here.
 */
import type { Cluster, Redis } from 'ioredis';
import type { StageContext } from '../../context.ts';
import { PREFIX } from '../names.ts';
import { connectRedis } from './connect.ts';
import { parseRedisUrl } from './url.ts';

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

/**
 * Opens the queue at `url`, else at UNFOLD_QUEUE, else the private server of this machine, which is started if need be.
 * @throws UnfoldError `bad-queue`, `no-redis`, `bad-redis`
 */
export async function openQueue(url: string | undefined, context: StageContext): Promise<QueueConnection> {
  const address = parseRedisUrl(url || process.env.UNFOLD_QUEUE || '');
  const client = await connectRedis(address, context);
  return {
    url: address.shown,
    client,
    bullmq: () => ({ connection: client, prefix: PREFIX }),
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
  if (client.status === 'end') return;
  if (client.status === 'ready') {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, 2000)));
    await Promise.race([client.quit().catch(() => undefined), late]);
    clearTimeout(timer);
  }
  client.disconnect();
}
