/**
 * @file The queues there are, by KEYS.queues, and BullMQ's object for each, made once. Making one writes nothing to Redis.
 */
import { Queue } from 'bullmq';
import type { QueueConnection } from '../jobs/redis/open.ts';
import { queueNames } from '../jobs/watch/read.ts';

/** Opened queues. */
export interface QueueSet {
  /** Names that are known now, sorted; those that BullMQ would not take as a name are left out. */
  names(): Promise<string[]>;
  get(name: string): Queue;
  close(): Promise<void>;
}

/** What is in the set may be garbage: no more than so many are believed. */
const MOST = 500;
const NAME = /^[\w.@+-]{1,200}$/;

/** Queues over one connection. */
export function queueSet(connection: QueueConnection): QueueSet {
  const options = connection.bullmq();
  const opened = new Map<string, Queue>();
  return {
    async names() {
      const names = await queueNames(connection.client);
      return names
        .filter((name) => NAME.test(name))
        .sort()
        .slice(0, MOST);
    },
    get(name) {
      const queue = opened.get(name) ?? open(name, options);
      opened.set(name, queue);
      return queue;
    },
    async close() {
      await Promise.allSettled([...opened.values()].map((queue) => queue.close()));
    },
  };
}

function open(name: string, options: ReturnType<QueueConnection['bullmq']>): Queue {
  const queue = new Queue(name, { ...options, skipMetasUpdate: true, skipVersionCheck: true });
  // Without a listener a lost connection would end the process; redis.ts tells of it.
  queue.on('error', () => {});
  return queue;
}
