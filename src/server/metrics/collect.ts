/**
 * @file One scrape: what Redis knows, within a deadline, and this process. Without Redis the scrape still answers, with
 * `unfold_redis_up 0` and without numbers that would be stale.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import { workers } from '../../jobs/watch/workers.ts';
import { packageVersion } from '../../package-version.ts';
import type { World } from '../world.ts';
import { newSheet, type Sheet } from './gauges.ts';
import { collectJobs } from './jobs.ts';
import { collectRedis } from './redis.ts';
import { collectWorkers } from './workers.ts';

/** Milliseconds for all of Redis's answers. */
const DEADLINE = 800;

/** Prometheus's text format. */
export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** The text of a scrape of `unfold serve`. */
export async function scrape(
  world: Pick<World, 'connection' | 'redis' | 'queues'>,
  processes: Registry,
): Promise<string> {
  const began = performance.now();
  const full = newSheet();
  const up = await world.redis
    .ask(() => collectAll(full, world), DEADLINE)
    .then(
      () => true,
      () => false,
    );
  const sheet = up ? full : newSheet();
  sheet.gauge('unfold_redis_up', '1 if Redis answered this scrape.', {}, Number(up));
  sheet.gauge(
    'unfold_scrape_duration_seconds',
    'Seconds that this scrape took.',
    {},
    (performance.now() - began) / 1000,
  );
  return finish(sheet, processes);
}

/** The sheet and the process's own numbers as one text. */
export async function finish(sheet: Sheet, processes: Registry): Promise<string> {
  sheet.gauge('unfold_info', 'Version of Unfold, as a label.', { version: packageVersion() }, 1);
  return `${(await sheet.text()).trimEnd()}\n\n${await processes.metrics()}`;
}

/** Memory, CPU time, event loop and handles of this process. */
export function processRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

async function collectAll(
  sheet: Sheet,
  { connection, queues }: Pick<World, 'connection' | 'queues'>,
): Promise<void> {
  const names = await queues.names();
  const [records] = await Promise.all([
    workers(connection),
    collectJobs(sheet, connection, names),
    collectRedis(sheet, connection),
  ]);
  collectWorkers(sheet, records);
}
