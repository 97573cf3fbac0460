/**
 * @file Whether a connection is what was asked for. ioredis goes on in database 0 when SELECT fails, and as nobody in
 * particular when a server knows no users: jobs would go to a place that may be somebody else's.
 */
import { Cluster, type Redis, type RedisOptions } from 'ioredis';
import { UnfoldError } from '../../errors.ts';
import type { RedisAddress } from './url.ts';

/** Hangs up, at every connection of the client and of its duplicates, before a command reaches the wrong database. */
export function keepDatabase(client: Redis): Redis {
  client.on('error', (error: Error) => {
    if (client.status === 'connect' && isSelect(error)) client.disconnect(true);
  });
  const duplicate = client.duplicate.bind(client);
  client.duplicate = (override?: Partial<RedisOptions>) => keepDatabase(duplicate(override));
  return client;
}

const isSelect = (error: Error) => (error as { command?: { name?: string } }).command?.name === 'select';

/** The lesson of a database that the server does not have; any other error of SELECT is left to others. */
export async function explainDatabase(
  error: Error,
  client: Redis | Cluster,
  address: RedisAddress,
): Promise<UnfoldError | undefined> {
  if (client instanceof Cluster || !/DB index|invalid first argument/i.test(error.message)) return undefined;
  const last = await lastDatabase(client, address.db);
  const range = last === 0 ? 'database 0 only' : `databases 0 to ${last}`;
  return new UnfoldError('bad-queue', {
    where: address.shown,
    expected: last === undefined ? 'a database that the server has' : `one of this Redis’s ${range}`,
    found: `database ${address.db}; this Redis has ${last === undefined ? 'fewer' : last === 0 ? 'only 0' : `0 to ${last}`}`,
    todo: 'name another behind the host (redis://host/0), or leave it out for 0',
    cause: error,
  });
}

/** By halving: CONFIG, which knows the number, is forbidden to many. */
async function lastDatabase(client: Redis, refused: number): Promise<number | undefined> {
  const plain = client.duplicate({ db: 0, lazyConnect: true, retryStrategy: () => null });
  plain.on('error', () => undefined);
  try {
    await plain.connect();
    let [has, lacks] = [0, refused];
    while (lacks - has > 1) {
      const middle = (has + lacks) >> 1;
      const isThere = await plain.select(middle).then(
        () => true,
        () => false,
      );
      if (isThere) has = middle;
      else lacks = middle;
    }
    return has;
  } catch {
    return undefined;
  } finally {
    if (plain.status !== 'end') plain.disconnect();
  }
}

/**
 * Asks who we are, where a user was named.
 * @throws UnfoldError `bad-queue` if the server took us for somebody else
 */
export async function assertUser(client: Redis | Cluster, { username, shown }: RedisAddress): Promise<void> {
  if (username === undefined) return;
  const who = await client.call('ACL', 'WHOAMI').catch((error: Error) => error);
  if (who === username || (who instanceof Error && /NOPERM/.test(who.message))) return;
  throw new UnfoldError('bad-queue', {
    where: shown,
    expected: `user ${username}`,
    found: who instanceof Error ? 'a server without users (before Redis 6)' : `user ${String(who)}`,
    todo: 'a password without a user is written redis://:password@host',
  });
}
