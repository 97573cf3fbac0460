/** @file One question to a server on a Unix socket: is it there? Changes and starts nothing. */
import { Redis } from 'ioredis';
import { hangUp } from './connect.ts';

/** `gone`: no process listens. `silent`: one does, but says nothing. */
export type Answer = 'ready' | 'loading' | 'silent' | 'gone';

/** Sends PING, waits for at most `patience` milliseconds. */
export async function ask(socket: string, patience = 3000): Promise<Answer> {
  const redis = new Redis({
    path: socket,
    lazyConnect: true,
    enableReadyCheck: false,
    disableClientInfo: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
  });
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
    hangUp(redis);
  }
}
