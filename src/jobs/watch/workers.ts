/** @file The workers that are alive: each rewrites its record in Redis every few seconds (src/jobs/worker). */
import { z } from 'zod';
import { KEYS, type WorkerRecord } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';
import { jsonOf, readHash } from './read.ts';

/** Milliseconds of silence after which a worker is taken for gone. */
export const WORKER_SILENCE = 30_000;

const workerRecord: z.ZodType<WorkerRecord> = z.object({
  id: z.string(),
  host: z.string(),
  pid: z.number(),
  unfold: z.string(),
  stages: z.array(z.string()),
  tags: z.array(z.string()),
  roots: z.array(z.string()).optional().catch(undefined),
  concurrency: z.number(),
  backend: z.string(),
  jobs: z.array(z.string()),
  rss_bytes: z.number(),
  completed: z.number(),
  failed: z.number(),
  stopping: z.boolean(),
  seen: z.number(),
  started: z.number(),
});

/** Living workers, by host and id. Whether one lives is judged by Redis's clock alone: clocks of machines differ. */
export async function workers(connection: QueueConnection): Promise<WorkerRecord[]> {
  const [records, now] = await Promise.all([readHash(connection.client, KEYS.workers), connection.time()]);
  return [...records.values()]
    .map((text) => workerRecord.safeParse(jsonOf(text)).data)
    .filter((record): record is WorkerRecord => record !== undefined && now - record.seen < WORKER_SILENCE)
    .sort((a, b) => a.host.localeCompare(b.host) || a.id.localeCompare(b.id));
}
