/**
 * @file Connects to Redis with ioredis. The first connection answers within seconds, one way or the other; once there was
 * one, a server that dies is waited for without end, and what was asked meanwhile is done when it is back.
 */
import { readFileSync } from 'node:fs';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { type Answer, askAgain } from './ask.ts';
import { explainConnection, forgetCommand } from './explain.ts';
import { assertUser, explainDatabase, keepDatabase } from './got.ts';
import type { RedisAddress, TlsFiles } from './url.ts';

/** Milliseconds in which a server has to answer at first. */
export const FIRST_ANSWER = 5000;

/** Longest pause between attempts to reach a server that was lost, milliseconds. */
const LONGEST_PAUSE = 2000;

/** Milliseconds without an answer to a command after which a connection counts as dead; BullMQ blocks for at most 10 s. */
const SILENCE = 30_000;

/** Whether a server was ever reached; decides between giving up and trying again. */
interface Progress {
  reached: boolean;
}

/**
 * A connection that works.
 * @param firstAnswer milliseconds; a server that is loading its data is waited for longer
 * @throws UnfoldError `no-redis` if nobody answers, `bad-queue` if it does not let us in
 */
export async function connectRedis(
  address: RedisAddress,
  context: StageContext,
  firstAnswer = FIRST_ANSWER,
): Promise<Redis | Cluster> {
  const progress: Progress = { reached: false };
  const client = makeClient(address, progress, firstAnswer);
  let last: Error | undefined;
  const remember = (error: Error) => (last = error);
  client.on('error', remember);
  try {
    await answered(client, context, firstAnswer, address);
    await assertUser(client, address);
  } catch (error) {
    hangUp(client);
    context.signal.throwIfAborted();
    if (error instanceof UnfoldError) throw error;
    const why = last ?? (error as Error);
    throw (await explainDatabase(why, client, address)) ?? explainConnection(address, why);
  }
  client.off('error', remember);
  progress.reached = true;
  reportLosses(client, address, context);
  return client;
}

/** Disconnects; of one that has ended already, ioredis would wait two seconds for the end. */
export function hangUp(client: Redis | Cluster): void {
  if (client.status !== 'end' && client.status !== 'wait') client.disconnect();
}

async function answered(
  client: Redis | Cluster,
  context: StageContext,
  firstAnswer: number,
  address: RedisAddress,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let stop = () => {};
  const limit = new Promise<never>((_, reject) => {
    const check = async () => {
      const answer = client.status === 'connect' ? await askOnce(client, firstAnswer) : 'silent';
      if (answer === 'loading') context.note(`Redis at ${address.shown} is loading its data: waiting`);
      else if (answer !== 'ready') reject(new Error(`no answer in ${firstAnswer / 1000} s`));
    };
    timer = setTimeout(() => check().catch(reject), firstAnswer);
    stop = () => reject(context.signal.reason);
    context.signal.addEventListener('abort', stop, { once: true });
  });
  try {
    await Promise.race([client.connect(), limit]);
  } finally {
    clearTimeout(timer);
    context.signal.removeEventListener('abort', stop);
  }
}

/** A server that reads its data, which can take minutes, answers with just that (and one that has just read it, as ever). */
async function askOnce(client: Redis | Cluster, firstAnswer: number): Promise<Answer> {
  return client instanceof Redis ? askAgain(client, Math.min(2 * firstAnswer, 3000)) : 'silent';
}

/**
 * For a connection that was found good, and for the duplicates that BullMQ makes of it: after a failover the old master
 * refuses to write, so the new one is looked for and asked again. (Earlier, a replica is a mistake to be told.)
 */
export function outliveFailovers(client: Redis | Cluster): void {
  // A duplicate that connects by itself tries for ever, where connect() fails at the first refusal.
  client.options.lazyConnect = false;
  if (!(client instanceof Redis)) return; // a Cluster's nodes say MOVED
  client.options.reconnectOnError = (error) => (/^(READONLY|MASTERDOWN)/.test(error.message) ? 2 : false);
}

/** Says once that a server is gone, and once that it is back; and keeps `error` from being unheard. */
function reportLosses(client: Redis | Cluster, address: RedisAddress, context: StageContext): void {
  let since: number | undefined;
  let why = '';
  client.on('error', (error: Error) => {
    forgetCommand(error);
    why = error.message;
  });
  client.on('reconnecting', () => {
    if (since !== undefined) return;
    since = Date.now();
    context.warn(
      `Redis at ${address.shown} is lost${why ? ` (${why})` : ''}: trying again until it is back; work goes on meanwhile`,
    );
  });
  client.on('ready', () => {
    if (since === undefined) return;
    context.note(`Redis at ${address.shown} is back after ${((Date.now() - since) / 1000).toFixed(1)} s`);
    since = undefined;
    why = '';
  });
}

function makeClient(address: RedisAddress, progress: Progress, firstAnswer: number): Redis | Cluster {
  const again = (times: number) =>
    progress.reached ? Math.min(50 * 2 ** Math.min(times, 10), LONGEST_PAUSE) : null;
  const options: RedisOptions = {
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
    ...(address.tls ? { tls: tlsOptions(address.tls) } : {}),
    // BullMQ's rule: a command waits for Redis's return and does not fail.
    maxRetriesPerRequest: null,
    connectTimeout: firstAnswer,
    keepAlive: 10_000,
    socketTimeout: SILENCE,
    lazyConnect: true,
  };
  const { place, db } = address;
  if (place.type === 'cluster') return makeCluster(place.nodes, options, again);
  return keepDatabase(new Redis({ ...options, ...whereOptions(address, again), db, retryStrategy: again }));
}

/** The place of one server, or of Sentinels that know it. */
function whereOptions({ place, tls }: RedisAddress, again: (times: number) => number | null): RedisOptions {
  if (place.type === 'tcp') return place.at;
  if (place.type === 'unix') return { path: place.path };
  if (place.type === 'cluster') return {};
  return {
    sentinels: place.sentinels,
    name: place.master,
    ...(place.username === undefined ? {} : { sentinelUsername: place.username }),
    ...(place.password === undefined ? {} : { sentinelPassword: place.password }),
    ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: tlsOptions(tls) } : {}),
    sentinelRetryStrategy: again,
    failoverDetector: true,
  };
}

function makeCluster(
  nodes: { host: string; port: number }[],
  options: RedisOptions,
  again: (times: number) => number | null,
): Cluster {
  const cluster: ClusterOptions = { redisOptions: options, clusterRetryStrategy: again, lazyConnect: true };
  // Names are left to TLS to resolve: an address would not match the certificate.
  if (options.tls) cluster.dnsLookup = (host, callback) => callback(null, host);
  return new Cluster(nodes, cluster);
}

function tlsOptions(files: TlsFiles): TlsOptions {
  const read = (name: 'ca' | 'cert' | 'key') => {
    const path = files[name];
    if (path === undefined) return {};
    try {
      return { [name]: readFileSync(path) };
    } catch (cause) {
      throw new UnfoldError('bad-queue', {
        where: `the queue’s URL: ?${name}=${path}`,
        expected: 'a PEM file',
        found: (cause as Error).message,
        todo: 'correct the path; it is relative to the folder that you are in',
        cause,
      });
    }
  };
  const name = files.servername === undefined ? {} : { servername: files.servername };
  return { ...read('ca'), ...read('cert'), ...read('key'), ...name };
}
