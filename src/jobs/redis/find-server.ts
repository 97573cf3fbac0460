/** @file Finds redis-server, or its successor Valkey, on the PATH. */
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { UnfoldError } from '../../errors.ts';

const PROGRAMS = ['redis-server', 'valkey-server'];

/** How to come by a server, for messages. */
export const GET_REDIS =
  'Debian and Ubuntu: sudo apt-get install redis-server; macOS: brew install redis; conda install -c conda-forge redis-server; ' +
  'or docker run -d -p 6379:6379 redis redis-server --appendonly yes --maxmemory-policy noeviction, then --queue redis://localhost';

/**
 * Path of the program.
 * @throws UnfoldError `no-redis` with the ways to get one
 */
export async function findServer(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const found = await serverProgram(env);
  if (found !== undefined) return found;
  throw new UnfoldError('no-redis', {
    where: 'the queue: neither --queue nor UNFOLD_QUEUE is given',
    expected: `${PROGRAMS.join(' or ')} on the PATH, to start a private server`,
    found: `neither${redisUrlHint(env)}`,
    todo: `${GET_REDIS}. unfold run needs no Redis`,
  });
}

/** REDIS_URL is often another application's: it is mentioned and never used by itself. */
export function redisUrlHint(env: NodeJS.ProcessEnv = process.env): string {
  return env.REDIS_URL ? '; REDIS_URL is set but not used by itself: --queue "$REDIS_URL" would' : '';
}

/** Path of the program, if it is there. */
export async function serverProgram(env: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  const folders = (env.PATH ?? '').split(delimiter).filter(Boolean);
  for (const name of PROGRAMS) {
    for (const folder of folders) {
      const path = join(folder, name);
      const usable = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (usable) return path;
    }
  }
  return undefined;
}
