/** @file Servers that end with their test, a context that remembers what it was told, and a flow over two queues. */
import { join } from 'node:path';
import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { afterEach } from 'vitest';
import { type StageContext, silent } from '../../../src/context.ts';
import { UnfoldError } from '../../../src/errors.ts';
import { openQueue, type QueueConnection } from '../../../src/jobs/redis/open.ts';
import { type RedisOptions, startRedis, type TestRedis } from '../../support/redis.ts';

/** What was said through a context. */
export interface Heard {
  context: StageContext;
  notes: string[];
  warnings: string[];
}

/** A context that keeps its lines. */
export function listening(): Heard {
  const notes: string[] = [];
  const warnings: string[] = [];
  const context = {
    ...silent(),
    note: (text: string) => void notes.push(text),
    warn: (text: string) => void warnings.push(text),
  };
  return { context, notes, warnings };
}

/** Runs a parent in one queue and its child in another; returns what the parent got from the child. */
export async function runFlow(connection: QueueConnection): Promise<unknown> {
  const options = connection.bullmq();
  const flow = new FlowProducer(options);
  const events = new QueueEvents('train', options);
  const workers = [
    new Worker('harvest', async () => 'shards', options),
    new Worker('train', async (job) => Object.values(await job.getChildrenValues()), options),
  ];
  const queue = new Queue('train', options);
  try {
    await events.waitUntilReady();
    const { job } = await flow.add({
      name: 'train',
      queueName: 'train',
      data: {},
      children: [{ name: 'harvest', queueName: 'harvest', data: {} }],
    });
    const result: unknown = await job.waitUntilFinished(events);
    await queue.getWorkers();
    return result;
  } finally {
    await Promise.all(workers.map((worker) => worker.close()));
    await Promise.all([events.close(), flow.close(), queue.close()]);
  }
}

/** Servers and connections of a test file; all of a test's are closed at its end. */
export function servers() {
  const cleanups: (() => unknown)[] = [];
  const later = (clean: () => unknown) => cleanups.push(clean);
  afterEach(async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean();
  });

  async function redis(options?: RedisOptions): Promise<TestRedis> {
    const server = await startRedis(options);
    later(() => server.stop());
    return server;
  }

  async function open(url: string, heard = listening()): Promise<QueueConnection> {
    const connection = await openQueue(url, heard.context);
    later(() => connection.close());
    return connection;
  }

  async function refusal(url: string): Promise<UnfoldError> {
    const error = await openQueue(url, listening().context).catch((thrown: unknown) => thrown);
    if (error instanceof UnfoldError) return error;
    throw error;
  }

  async function asAdmin(server: TestRedis, ...commands: [string, ...string[]][]): Promise<void> {
    const admin = new Redis({ path: join(server.dir, 'redis.sock') });
    for (const [name, ...args] of commands) await admin.call(name, ...args);
    await admin.quit();
  }

  return { asAdmin, later, open, redis, refusal };
}
