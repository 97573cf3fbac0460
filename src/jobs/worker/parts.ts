/**
 * @file Shares a job out: its parts become its children in the same queue. Ids say what a part is, so when a worker dies in
 * the middle of adding them, the next one finds those that are there. A part that failed before is begun again, since its
 * parent is.
 */
import { type Job, type JobsOptions, Queue } from 'bullmq';
import { type JobMessage, jobId } from '../message.ts';
import { KEYS, queueName } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';

/** Options that a part has from its parent. No delay: the parent has waited. */
const INHERITED = [
  'attempts',
  'backoff',
  'priority',
  'removeOnComplete',
  'removeOnFail',
  'keepLogs',
  'stackTraceLimit',
  'sizeLimit',
] as const;

/** Parts in one round trip. */
const PAGE = 500;

/** Adds the parts of `job` as its children. */
export async function addParts(
  connection: QueueConnection,
  job: Job,
  parts: readonly JobMessage[],
): Promise<void> {
  const timestamp = await connection.time();
  for (const [name, messages] of byQueue(parts)) {
    await connection.client.sadd(KEYS.queues, name);
    const queue = new Queue(name, connection.bullmq());
    queue.on('error', () => undefined);
    try {
      for (let at = 0; at < messages.length; at += PAGE)
        await addPage(queue, job, messages.slice(at, at + PAGE), timestamp);
    } finally {
      await queue.close();
    }
  }
}

async function addPage(
  queue: Queue,
  job: Job,
  messages: readonly JobMessage[],
  timestamp: number,
): Promise<void> {
  const parent = { id: job.id ?? '', queue: job.queueQualifiedName };
  const inherited: JobsOptions = Object.fromEntries(INHERITED.map((name) => [name, job.opts[name]]));
  const added = await queue.addBulk(
    messages.map((data) => ({
      name: data.stage,
      data,
      opts: { ...inherited, timestamp, jobId: jobId(data), parent },
    })),
  );
  for (const { id = '' } of added) {
    const part = await queue.getJob(id);
    if (await part?.isFailed()) await part?.retry('failed').catch(() => undefined);
  }
}

function byQueue(parts: readonly JobMessage[]): Map<string, JobMessage[]> {
  const queues = new Map<string, JobMessage[]>();
  for (const part of parts) {
    const name = queueName(part.stage, part.tags);
    queues.set(name, [...(queues.get(name) ?? []), part]);
  }
  return queues;
}
