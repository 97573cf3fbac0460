/**
 * @file What a worker tells supervisors and Prometheus on a port of its own (`unfold worker --port`): alive, ready, numbers.
 * Nothing can be changed there, and no names of files are told; so it asks for no token, wherever it listens.
 */
import { isIP } from 'node:net';
import { Hono } from 'hono';
import type { WorkerRecord } from '../jobs/names.ts';
import type { QueueConnection } from '../jobs/redis/open.ts';
import { access } from './access.ts';
import { boundedBody, closeServer, httpServer, listen, shownHost } from './listen.ts';
import { CONTENT_TYPE, finish, processRegistry } from './metrics/collect.ts';
import { newSheet } from './metrics/gauges.ts';
import { collectWorkers } from './metrics/workers.ts';
import { watchRedis } from './redis.ts';

/** The worker, as far as it is shown. */
export interface ShownWorker {
  readonly connection: QueueConnection;
  record(): Omit<WorkerRecord, 'seen' | 'started'>;
}

/** Endpoints that listen. */
export interface Endpoints {
  /** `http://127.0.0.1:9100/`. */
  url: string;
  close(): Promise<void>;
}

/**
 * Serves `/health`, `/ready` (503 with the reason while Redis is away or the worker is stopping) and `/metrics`.
 * @throws UnfoldError `port-taken`, `bad-host`
 */
export async function workerEndpoints(
  worker: ShownWorker,
  { port, host = '127.0.0.1' }: { port: number; host?: string },
): Promise<Endpoints> {
  const redis = watchRedis(worker.connection);
  const processes = processRegistry();
  const app = new Hono();
  app.use(access({ readOnly: true, names: isIP(host) === 0 ? [host] : [] }));
  app.use(boundedBody);
  app.get('/health', (c) => c.json({ status: 'ok', worker: worker.record().id }));
  app.get('/ready', async (c) => {
    const reason = (await redis.trouble()) ?? (worker.record().stopping ? 'it is stopping' : undefined);
    return reason === undefined ? c.json({ status: 'ready' }) : c.json({ status: 'not ready', reason }, 503);
  });
  app.get('/metrics', async (c) => {
    const sheet = newSheet();
    collectWorkers(sheet, [worker.record()]);
    sheet.gauge('unfold_redis_up', '1 if Redis answered this scrape.', {}, Number(!(await redis.trouble())));
    return c.body(await finish(sheet, processes), 200, { 'Content-Type': CONTENT_TYPE });
  });
  const server = httpServer(app.fetch);
  const chosen = await listen(server, port, host).catch((error) => {
    redis.close();
    throw error;
  });
  return {
    url: `http://${shownHost(host)}:${chosen}/`,
    async close() {
      await closeServer(server);
      redis.close();
    },
  };
}
