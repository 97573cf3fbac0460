/**
 * @file Whether Redis answers. A connection that was lost comes back by itself and keeps commands waiting meanwhile; a
 * server's client must not wait with them, so everything that asks Redis asks here first, and has a deadline.
 */
import type { QueueConnection } from '../jobs/redis/open.ts';
import { shownText } from '../shown-url.ts';

/** What is known of Redis. */
export interface Redis {
  /** Undefined if it answers within the deadline (milliseconds); else why not, in one line without secrets. */
  trouble(deadline?: number): Promise<string | undefined>;
  /** As `trouble`, without asking: the connection is up. */
  seemsUp(): boolean;
  /** Result of a question to Redis, in time. @throws Error with the reason if Redis does not answer */
  ask<T>(question: () => Promise<T>, deadline?: number): Promise<T>;
  close(): void;
}

/** Milliseconds. */
const DEADLINE = 900;

/** Watches a connection. */
export function watchRedis({ client }: QueueConnection): Redis {
  let last: string | undefined;
  const onError = (error: Error) => {
    last = oneLine(error);
  };
  const onReady = () => {
    last = undefined;
  };
  client.on('error', onError);
  client.on('ready', onReady);
  const reason = () => `Redis is not reachable${last ? `: ${last}` : ` (${client.status})`}`;
  const ask = async <T>(question: () => Promise<T>, deadline = DEADLINE): Promise<T> => {
    if (client.status !== 'ready') throw new Error(reason());
    return inTime(question(), deadline, () =>
      client.status === 'ready' ? `Redis did not answer within ${deadline} ms` : reason(),
    );
  };
  return {
    ask,
    seemsUp: () => client.status === 'ready',
    async trouble(deadline) {
      try {
        await ask(() => client.ping(), deadline);
        return undefined;
      } catch (error) {
        return oneLine(error);
      }
    },
    close() {
      client.off('error', onError);
      client.off('ready', onReady);
    },
  };
}

/** The promise's result, or an error once the time is over; what comes later is dropped. */
export async function inTime<T>(promise: Promise<T>, milliseconds: number, why: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(why())), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** An error's message in one line, without the credentials of URLs. */
export function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return shownText(text).replace(/\s+/g, ' ').slice(0, 300);
}
