/**
 * @file A private Redis with jobs made and moved by hand, through BullMQ's own calls: what a watcher is to see, without
 * workers that would race with the test.
 */
import { type FlowJob, FlowProducer, type Job, Queue, Worker } from 'bullmq';
import { silent } from '../../../src/context.ts';
import { type JobMessage, jobId } from '../../../src/jobs/message.ts';
import { KEYS, queueName } from '../../../src/jobs/names.ts';
import { openQueue, type QueueConnection } from '../../../src/jobs/redis/open.ts';
import { startRedis } from '../../support/redis.ts';

/** A job that a worker has. */
export interface Taken {
  job: Job;
  complete(result?: unknown): Promise<void>;
  /** Ends the attempt; the job is tried again if it has attempts left. */
  fail(reason: string): Promise<void>;
  /** Hands the job back to wait for jobs added below it. */
  waitForChildren(): Promise<void>;
}

export interface World {
  connection: QueueConnection;
  url: string;
  queue(name: string): Queue;
  /** Adds a tree of jobs, children first in time. */
  add(tree: Tree): Promise<void>;
  /** Takes the next job of a queue as a worker would. */
  take(queue: string): Promise<Taken>;
  close(): Promise<void>;
}

export interface Tree {
  message: JobMessage;
  options?: FlowJob['opts'];
  children?: Tree[];
}

export async function makeWorld(): Promise<World> {
  const server = await startRedis();
  const connection = await openQueue(server.url, silent());
  const queues = new Map<string, Queue>();
  const workers = new Map<string, Worker>();
  const producer = new FlowProducer(connection.bullmq());
  const queue = (name: string) => remember(queues, name, () => new Queue(name, connection.bullmq()));
  const worker = (name: string) =>
    remember(workers, name, () => new Worker(name, null, { ...connection.bullmq(), autorun: false }));
  return {
    connection,
    url: server.url,
    queue,
    async add(tree) {
      const names: string[] = [];
      const flow = flowOf(tree, names);
      await connection.client.sadd(KEYS.queues, ...names);
      await producer.add(flow);
    },
    async take(name) {
      const token = `token-${name}`;
      const job = await worker(name).getNextJob(token, { block: false });
      if (!job) throw new Error(`no job is waiting in ${name}`);
      return {
        job,
        complete: async (result = {}) => void (await job.moveToCompleted(result, token, false)),
        fail: async (reason) => void (await job.moveToFailed(new Error(reason), token, false)),
        waitForChildren: async () => void (await job.moveToWaitingChildren(token)),
      };
    },
    async close() {
      await Promise.all([...workers.values()].map((each) => each.close(true)));
      await Promise.all([...queues.values()].map((each) => each.close()));
      await producer.close();
      await connection.close();
      await server.stop();
    },
  };
}

function remember<T>(known: Map<string, T>, name: string, make: () => T): T {
  const made = known.get(name) ?? make();
  known.set(name, made);
  return made;
}

function flowOf({ message, options, children = [] }: Tree, names: string[]): FlowJob {
  const name = queueName(message.stage, message.tags);
  names.push(name);
  return {
    name: message.stage,
    queueName: name,
    data: message,
    opts: { jobId: jobId(message), ...options },
    children: children.map((child) => flowOf(child, names)),
  };
}

const KEY = 'ab'.repeat(32);

/** A stage's message, `part` for one share of it. */
export function stage(flow: string, name: string, part?: string): JobMessage {
  return {
    kind: 'unfold.job/1',
    type: 'stage',
    stage: name,
    flow,
    tags: [],
    out: 'runs/test',
    settings: { seed: 1 },
    version: 1,
    key: KEY,
    inputs: {},
    phase: 'split',
    ...(part && { part: { name: part, of: {} } }),
  };
}

/** A command queued alone. */
export function direct(flow: string, name = 'probe'): JobMessage {
  return {
    kind: 'unfold.job/1',
    type: 'direct',
    stage: name,
    flow,
    tags: [],
    out: 'runs/test',
    settings: { seconds: 2 },
  };
}

/** pipeline ← train ← harvest ← two parts of harvest. */
export function smallFlow(flow: string): Tree {
  const parts = ['shards-0-1', 'shards-2-3'].map((part) => ({ message: stage(flow, 'harvest', part) }));
  const harvest = { message: stage(flow, 'harvest'), children: parts };
  const root: JobMessage = {
    ...direct(flow, 'pipeline'),
    type: 'pipeline',
    stages: { harvest: KEY, train: KEY },
  };
  return { message: root, children: [{ message: stage(flow, 'train'), children: [harvest] }] };
}
