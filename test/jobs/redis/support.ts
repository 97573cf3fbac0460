/** @file A context that remembers what it was told, and a flow over two queues. */
import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';
import { type StageContext, silent } from '../../../src/context.ts';
import type { QueueConnection } from '../../../src/jobs/redis/open.ts';

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
