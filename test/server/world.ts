/** @file A server over a redis-server of its own, for tests: jobs are put there with plain BullMQ. */
import { type JobsOptions, Queue } from 'bullmq';
import { silent } from '../../src/context.ts';
import type { JobMessage } from '../../src/jobs/message.ts';
import { jobId } from '../../src/jobs/message.ts';
import { KEYS } from '../../src/jobs/names.ts';
import { openQueue, type QueueConnection } from '../../src/jobs/redis/open.ts';
import { type RunningServer, type ServerOptions, startServer } from '../../src/server/server.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

/** A redis-server, a connection to it, and servers that end with it. */
export interface TestWorld {
  redis: TestRedis;
  connection: QueueConnection;
  serve(options?: Partial<ServerOptions>): Promise<RunningServer>;
  /** Adds a job as `unfold enqueue` does, in a queue that becomes known. */
  add(queue: string, data: unknown, options?: JobsOptions): Promise<void>;
  queue(name: string): Queue;
  close(): Promise<void>;
}

/** Starts all but servers. */
export async function testWorld(): Promise<TestWorld> {
  const redis = await startRedis();
  const connection = await openQueue(redis.url, silent());
  const servers: RunningServer[] = [];
  const queues = new Map<string, Queue>();
  const queue = (name: string) => {
    const known = queues.get(name) ?? new Queue(name, connection.bullmq());
    known.on('error', () => {});
    queues.set(name, known);
    return known;
  };
  return {
    redis,
    connection,
    queue,
    async serve(options = {}) {
      const server = await startServer({ queue: redis.url, port: 0, ...options }, silent());
      servers.push(server);
      return server;
    },
    async add(name, data, options = {}) {
      await connection.client.sadd(KEYS.queues, name);
      await queue(name).add(name, data, options);
    },
    async close() {
      await Promise.all(servers.map((server) => server.close()));
      await Promise.all([...queues.values()].map((one) => one.close()));
      await connection.close();
      await redis.stop();
    },
  };
}

/** A valid message of a stage, and its job's id. */
export function stageMessage(
  stage: string,
  more: Partial<JobMessage> = {},
): { data: JobMessage; id: string } {
  const data = {
    kind: 'unfold.job/1',
    type: 'stage',
    stage,
    flow: 'demo-1a2b3c4d',
    tags: [],
    out: '/nowhere/runs',
    settings: { width: 64, note: 'a & b' },
    version: 1,
    key: 'ab'.repeat(32),
    inputs: { harvest: 'cd'.repeat(32) },
    phase: 'split',
    ...more,
  } as JobMessage;
  return { data, id: jobId(data) };
}

/** JSON of a path of the server. */
export async function getJson<T = Record<string, unknown>>(server: RunningServer, path: string): Promise<T> {
  return (await (await fetch(new URL(path, server.url))).json()) as T;
}

/** Text of a path of the server. */
export async function getText(server: RunningServer, path: string): Promise<string> {
  return (await fetch(new URL(path, server.url))).text();
}

/** Events of a stream until `enough`; then it is left. */
export async function readEvents(
  server: RunningServer,
  path: string,
  enough: (event: { event: string; data: unknown; id: string }) => boolean,
  headers: Record<string, string> = {},
): Promise<{ event: string; data: unknown; id: string }[]> {
  const leave = new AbortController();
  const answer = await fetch(new URL(path, server.url), { headers, signal: leave.signal });
  const events: { event: string; data: unknown; id: string }[] = [];
  let rest = '';
  try {
    for await (const part of answer.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + part).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks.filter((text) => !text.startsWith(':'))) {
        const fields = new Map(
          block.split('\n').map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]),
        );
        const event = {
          event: fields.get('event')!,
          data: JSON.parse(fields.get('data')!) as unknown,
          id: fields.get('id')!,
        };
        events.push(event);
        if (enough(event)) return events;
      }
    }
    return events;
  } finally {
    leave.abort();
  }
}
