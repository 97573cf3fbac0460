/**
 * @file Starts and ends the server of `unfold serve`: the queue's connection, the application, the port.
 */
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { isIP } from 'node:net';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { openQueue, type QueueConnection } from '../jobs/redis/open.ts';
import { trusted } from './access.ts';
import { createApp } from './app.ts';
import { createFeed, readQueue } from './feed.ts';
import { closeServer, httpServer, listen, type Patience, shownHost } from './listen.ts';
import { queueSet } from './queues.ts';
import { watchRedis } from './redis.ts';
import type { World } from './world.ts';

/** See the fields. */
export interface ServerOptions {
  /** URL of the queue; default as {@link openQueue} has it. */
  queue?: string;
  /** 0: any that is free. Default 7870. */
  port?: number;
  /** Default 127.0.0.1: this machine only. */
  host?: string;
  readOnly?: boolean;
  /** Asked of everyone; made up if other machines can reach the server and none is given. */
  token?: string;
  /** Folders of runs whose size is shown. */
  runs?: readonly string[];
  patience?: Patience;
}

/** A server that listens. */
export interface RunningServer {
  /** `http://127.0.0.1:7870/`. */
  url: string;
  /** The queue, without passwords. */
  queue: string;
  token?: string;
  port: number;
  close(): Promise<void>;
}

export const DEFAULT_PORT = 7870;
const LEAST_TOKEN = 8;

/**
 * Opens the queue and listens.
 * @throws UnfoldError `bad-token`, `port-taken`, `bad-host`, and those of {@link openQueue}
 */
export async function startServer(options: ServerOptions, context: StageContext): Promise<RunningServer> {
  const host = options.host ?? '127.0.0.1';
  const token = checkToken(options.token) ?? (isLoopback(host) ? undefined : randomBytes(16).toString('hex'));
  const connection = await openQueue(options.queue, context);
  const ending = new AbortController();
  // Every stream waits for it.
  setMaxListeners(0, ending.signal);
  const world = makeWorld(connection, options, token, ending.signal);
  const end = async () => {
    ending.abort();
    await world.queues.close();
    world.redis.close();
    await connection.close();
  };
  const names = isIP(host) === 0 ? [host] : [];
  const app = createApp(world, { ...(token === undefined ? {} : { token }), names });
  const server = httpServer(app.fetch, options.patience);
  try {
    const port = await listen(server, options.port ?? DEFAULT_PORT, host);
    return {
      url: `http://${shownHost(host)}:${port}/`,
      queue: connection.url,
      ...(token === undefined ? {} : { token }),
      port,
      async close() {
        ending.abort();
        await closeServer(server);
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

function makeWorld(
  connection: QueueConnection,
  options: ServerOptions,
  token: string | undefined,
  signal: AbortSignal,
): World {
  const redis = watchRedis(connection);
  return {
    connection,
    redis,
    feed: createFeed(readQueue(connection), redis, signal),
    queues: queueSet(connection),
    trusted: (c) => trusted(c, token),
    readOnly: options.readOnly ?? false,
    runs: options.runs ?? [],
    signal,
  };
}

/** True for addresses that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function checkToken(token: string | undefined): string | undefined {
  if (token === undefined || (token.length >= LEAST_TOKEN && /^[\x21-\x7e]+$/.test(token))) return token;
  throw new UnfoldError('bad-token', {
    where: '--token (or UNFOLD_TOKEN)',
    expected: `at least ${LEAST_TOKEN} visible ASCII characters without spaces`,
    found: `${token.length} characters`,
    todo: 'choose a longer one, or leave it out: with --host one is made up and printed',
  });
}
