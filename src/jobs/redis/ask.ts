/** @file One question to a server: is it there? Changes and starts nothing. */
import { Redis } from 'ioredis';

/** `gone`: no process listens. `silent`: one does, but says nothing. */
export type Answer = 'ready' | 'loading' | 'silent' | 'gone';

/** What a client needs to be asked: it fails at once, and does not wait until data is loaded. */
const ONE_QUESTION = {
  lazyConnect: true,
  enableReadyCheck: false,
  disableClientInfo: true,
  retryStrategy: null,
  maxRetriesPerRequest: 0,
} as const;

/** Asks the server on a socket. */
export function ask(socket: string, patience?: number): Promise<Answer> {
  return put(new Redis({ ...ONE_QUESTION, path: socket }), patience);
}

/** Asks the server of a client, over a connection of its own. */
export function askAgain(client: Redis, patience?: number): Promise<Answer> {
  return put(client.duplicate({ ...ONE_QUESTION }), patience);
}

/** Sends PING, waits for at most `patience` milliseconds, hangs up. */
async function put(redis: Redis, patience = 3000): Promise<Answer> {
  let why = '';
  redis.on('error', (error: NodeJS.ErrnoException) => (why = error.code ?? error.message));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Answer>((resolve) => (timer = setTimeout(resolve, patience, 'silent')));
  const ping = async (): Promise<Answer> => {
    try {
      await redis.connect();
      await redis.ping();
      return 'ready';
    } catch (error) {
      if ((error as Error).message.startsWith('LOADING')) return 'loading';
      if (why === 'EACCES' || why === 'EAGAIN') return 'silent';
      return 'gone';
    }
  };
  try {
    return await Promise.race([ping(), late]);
  } finally {
    clearTimeout(timer);
    if (redis.status !== 'end') redis.disconnect();
  }
}
