/** @file Ends the private server in order. */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { UnfoldError } from '../../errors.ts';
import { ask } from './ask.ts';
import { hangUp } from './connect.ts';
import { type PrivatePlace, privatePlace } from './place.ts';

const PATIENCE = 30_000;

/** What was ended. */
export interface Stopped {
  /** False if it did not run. */
  stopped: boolean;
  /** Connections of others that were open; workers among them wait for its return. */
  clients: number;
  folder: string;
}

/**
 * Ends the private server; its file is synced first and keeps every job.
 * @throws UnfoldError `no-redis` if it does not end
 */
export async function stopPrivateServer(place: PrivatePlace = privatePlace()): Promise<Stopped> {
  const { folder } = place;
  if ((await ask(place.socket)) === 'gone') return { stopped: false, clients: 0, folder };
  const redis = new Redis({ path: place.socket, lazyConnect: true, retryStrategy: null });
  redis.on('error', () => undefined);
  await redis.connect();
  const clients = Number(/connected_clients:(\d+)/.exec(await redis.info('clients'))?.[1] ?? 1) - 1;
  // Redis answers by closing the connection; an answer is a refusal (its file cannot be synced).
  const refusal = await redis.shutdown().then(
    (text) => String(text),
    (error: Error) => (/closed/i.test(error.message) ? undefined : error.message),
  );
  hangUp(redis);
  const end = Date.now() + PATIENCE;
  while (refusal === undefined && (await ask(place.socket)) !== 'gone') {
    if (Date.now() > end) break;
    await sleep(50);
  }
  if (refusal !== undefined || (await ask(place.socket)) !== 'gone') {
    throw new UnfoldError('no-redis', {
      where: place.socket,
      expected: 'the private Redis to end',
      found: refusal ?? `it still answers after ${PATIENCE / 1000} s`,
      todo: `see ${place.log}`,
    });
  }
  await rm(place.record, { force: true });
  return { stopped: true, clients, folder };
}
