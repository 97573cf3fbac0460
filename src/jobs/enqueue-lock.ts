/** @file One process at a time adds a flow; and what Redis says when it cannot take it, in words. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { UnfoldError } from '../errors.ts';
import { KEYS } from './names.ts';
import type { QueueConnection } from './redis/open.ts';

/** Milliseconds after which the lock of a process that died goes away. */
const LOCK_MS = 30_000;

/** Removes the lock if it is still ours. */
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/** Runs `use` while nobody else does for this flow. */
export async function withLock<T>(
  connection: QueueConnection,
  flow: string,
  use: () => Promise<T>,
): Promise<T> {
  const { client } = connection;
  const key = KEYS.enqueue + flow;
  const token = randomUUID();
  while ((await explainRedis(connection, () => client.set(key, token, 'PX', LOCK_MS, 'NX'))) === null)
    await delay(20 + 30 * Math.random());
  try {
    return await use();
  } finally {
    await client.eval(RELEASE, 1, key, token);
  }
}

/** Refusals of Redis itself become lessons. */
export async function explainRedis<T>({ url }: QueueConnection, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    const found = (cause as Error).message;
    if (
      !/OOM|MISCONF|NOPERM|READONLY|WRONGTYPE/.test(
        `${found} ${String((cause as { previousErrors?: unknown }).previousErrors ?? '')}`,
      )
    )
      throw cause;
    throw new UnfoldError('bad-redis', {
      where: url,
      expected: 'a Redis that takes new jobs',
      found,
      todo: 'look at its memory, disk and user (unfold queue), then queue the same again: nothing was half added',
      cause,
    });
  }
}
