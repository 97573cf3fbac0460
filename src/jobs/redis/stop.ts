/** @file Ends the private server in order. */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { UnfoldError } from '../../errors.ts';
import { writeJson } from '../../files.ts';
import { lockDirectory } from '../../lock.ts';
import { ask } from './ask.ts';
import { hangUp } from './connect.ts';
import { isThisMachine, type PrivatePlace, privatePlace, readRecord } from './place.ts';

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
  const nothing = { stopped: false, clients: 0, folder };
  if ((await ask(place.socket)) === 'gone') {
    const record = await readRecord(place);
    // One that was killed: from now on nobody starts it again by itself.
    if (record && isThisMachine(record)) await writeJson(place.record, { ...record, stopping: true });
    return nothing;
  }
  const lock = await lockDirectory(folder, { wait: PATIENCE });
  try {
    const record = await readRecord(place);
    if (record) await writeJson(place.record, { ...record, stopping: true });
    const { clients, refusal } = await shutDown(place);
    if (refusal !== undefined) {
      if (record) await writeJson(place.record, record);
      throw doesNotEnd(place, refusal);
    }
    await rm(place.record, { force: true });
    return { stopped: true, clients, folder };
  } finally {
    await lock.release();
  }
}

async function shutDown(place: PrivatePlace): Promise<{ clients: number; refusal: string | undefined }> {
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
  if (refusal !== undefined) return { clients, refusal };
  const end = Date.now() + PATIENCE;
  while ((await ask(place.socket)) !== 'gone') {
    if (Date.now() > end) return { clients, refusal: `it still answers after ${PATIENCE / 1000} s` };
    await sleep(50);
  }
  return { clients, refusal: undefined };
}

function doesNotEnd(place: PrivatePlace, found: string): UnfoldError {
  const expected = 'the private Redis to end';
  return new UnfoldError('no-redis', { where: place.socket, expected, found, todo: `see ${place.log}` });
}
