/**
 * @file The one way messages get into the queue. The same work queued twice is one flow: its id says what it makes, a short
 * lock in Redis keeps two machines from adding it at the same moment, and what is there already is looked at first.
 */
import { type FlowJob, FlowProducer, type Job, Queue } from 'bullmq';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { explainRedis, withLock } from './enqueue-lock.ts';
import { type FlowOptions, type JobTree, messagesOf, pipelineFlow } from './flow.ts';
import { type JobMessage, jobId, MAX_MESSAGE_BYTES } from './message.ts';
import { KEYS, parseQueueName, queueName } from './names.ts';
import { isFinished } from './on-disk.ts';
import { type AddOptions, findQueueFiles, removeQueueFile, writeQueueFile } from './queue-file.ts';
import type { QueueConnection } from './redis/open.ts';

export type { AddOptions } from './queue-file.ts';

/** What became of work that was to be queued. */
export interface Enqueued {
  /** Names the work: jobs' ids begin with it. */
  flow: string;
  /** The job that ends last. */
  root: { queue: string; id: string };
  /** Number of jobs, parts not counted. */
  jobs: number;
  out: string;
  /**
   * `queued`: now; `already queued`: it is under way; `finished before`: all its files are there; `failed before`: it, or
   * a job below it ({@link failed}), failed and waits for `unfold jobs retry`.
   */
  state: 'queued' | 'already queued' | 'finished before' | 'failed before';
  /** Ids of failed jobs. */
  failed: string[];
}

/** Milliseconds that the first retry waits; each later one twice as long, at random by up to a half less. */
const BACKOFF_MS = 5_000;

/** Seconds that a completed job can still be looked at. */
const KEPT_SECONDS = 7 * 24 * 3600;

/** Lines of a job's log that are kept. */
const KEPT_LINES = 2_000;

/**
 * Queues a pipeline.
 * @throws UnfoldError of the pipeline's file, `bad-setting`, `bad-redis`
 */
export async function enqueuePipeline(
  nameOrFile: string,
  options: FlowOptions & AddOptions,
  connection: QueueConnection,
  context: StageContext,
): Promise<Enqueued> {
  const tree = await pipelineFlow(nameOrFile, options);
  context.signal.throwIfAborted();
  return addJobs(connection, tree, options);
}

/**
 * Queues a tree of jobs, unless the same work is queued or finished already. Its queue file is written first, so that a
 * Redis that forgets can be told again ({@link requeue}).
 * @throws UnfoldError `bad-job` (a message that is too large), `bad-redis`, and those of writing the file
 */
export async function addJobs(
  connection: QueueConnection,
  tree: JobTree,
  { priority, delay, attempts }: AddOptions = {},
): Promise<Enqueued> {
  const options = { priority, delay, attempts };
  refuseLarge(tree);
  const { flow, out } = tree.message;
  const answer = {
    flow,
    root: { queue: queueOf(tree.message), id: jobId(tree.message) },
    jobs: messagesOf(tree).length,
    out,
  };
  return withLock(connection, flow, async () => {
    const queues = new Queues(connection);
    try {
      const found = await lookAt(tree, queues);
      if (found.state !== 'absent') return { ...answer, ...found, state: found.state };
      await writeQueueFile(tree, options);
      await clearLeftovers(connection, tree, queues);
      await explainRedis(connection, () => add(connection, tree, options));
      return { ...answer, state: 'queued' as const, failed: [] };
    } finally {
      await queues.close();
    }
  });
}

/**
 * Queues what the folders below `places` say is unfinished and the queue does not know: after Redis lost its data.
 * @returns what became of each flow found
 * @throws UnfoldError `missing-file` for a place that is not there, `bad-json` for a damaged queue file
 */
export async function requeue(places: readonly string[], connection: QueueConnection): Promise<Enqueued[]> {
  const done: Enqueued[] = [];
  for (const place of places) {
    for await (const { tree, options } of findQueueFiles(place)) {
      const enqueued = await addJobs(connection, tree, options);
      if (enqueued.state === 'finished before') await removeQueueFile(tree.message);
      done.push(enqueued);
    }
  }
  return done;
}

type Found = { state: Exclude<Enqueued['state'], 'queued'> | 'absent'; failed: string[] };

/** Whether the work is there, by the queue and by the files. */
async function lookAt(tree: JobTree, queues: Queues): Promise<Found> {
  const root = await queues.job(tree.message);
  const state = (await root?.getState()) ?? 'unknown';
  if (state === 'unknown' || state === 'completed') {
    // A command of its own looks for itself what is left to do, which costs little where that is nothing.
    const looked = tree.message.type === 'pipeline' || state === 'completed';
    const finished = looked && (await isFinished(tree));
    return { state: finished ? 'finished before' : 'absent', failed: [] };
  }
  const failed = await failedBelow(tree, queues);
  return { state: failed.length > 0 ? 'failed before' : 'already queued', failed };
}

async function failedBelow(tree: JobTree, queues: Queues): Promise<string[]> {
  const failed: string[] = [];
  for (const message of messagesOf(tree)) {
    const job = await queues.job(message);
    if (!job) continue;
    if (await job.isFailed()) failed.push(job.id!);
    else if (await job.isWaitingChildren()) failed.push(...(await failedParts(job, message, queues)));
  }
  return failed;
}

/** Parts go to the queue of their stage. */
async function failedParts(job: Job, message: JobMessage, queues: Queues): Promise<string[]> {
  const { unprocessed = [] } = await job.getDependencies({ unprocessed: { count: 1000 } });
  const failed: string[] = [];
  for (const key of unprocessed) {
    const id = key.slice(key.lastIndexOf(':') + 1);
    if (!id.startsWith(`${jobId(message)}.`)) continue;
    const part = await queues.named(job.queueName).getJob(id);
    if (part && (await part.isFailed())) failed.push(id);
  }
  return failed;
}

/** Removes what an earlier time of the same work left in Redis; what a worker has in hand stays, and is waited for. */
async function clearLeftovers(connection: QueueConnection, tree: JobTree, queues: Queues): Promise<void> {
  for (const message of messagesOf(tree)) {
    const job = await queues.job(message);
    if (job && !(await job.isActive())) await job.remove({ removeChildren: true }).catch(() => undefined);
  }
  const stopped = await connection.client.hkeys(KEYS.cancel);
  const own = stopped.filter((id) => id.startsWith(`${tree.message.flow}.`));
  if (own.length > 0) await connection.client.hdel(KEYS.cancel, ...own);
}

async function add(connection: QueueConnection, tree: JobTree, options: AddOptions): Promise<void> {
  const names = [...new Set(messagesOf(tree).map(queueOf))];
  // Before the jobs, so that whoever sees the jobs knows the queue.
  await connection.client.sadd(KEYS.queues, ...names);
  const producer = new FlowProducer(connection.bullmq());
  try {
    await producer.add(nodeOf(tree, options));
  } finally {
    await producer.close();
  }
}

function nodeOf({ message, children }: JobTree, options: AddOptions): FlowJob {
  const { attempts = 3, priority, delay } = options;
  return {
    name: message.stage,
    queueName: queueOf(message),
    data: message,
    opts: {
      jobId: jobId(message),
      attempts,
      backoff: { type: 'exponential', delay: BACKOFF_MS, jitter: 0.5 },
      ...(priority !== undefined && { priority }),
      // What waits for others needs no delay of its own.
      ...(delay !== undefined && children.length === 0 && { delay }),
      removeOnComplete: { age: KEPT_SECONDS },
      removeOnFail: false,
      keepLogs: KEPT_LINES,
      stackTraceLimit: 20,
      sizeLimit: MAX_MESSAGE_BYTES,
    },
    children: children.map((child) => nodeOf(child, options)),
  };
}

const queueOf = ({ stage, tags }: JobMessage) => queueName(stage, tags);

function refuseLarge(tree: JobTree): void {
  for (const message of messagesOf(tree)) {
    const bytes = Buffer.byteLength(JSON.stringify(message));
    if (bytes <= MAX_MESSAGE_BYTES) continue;
    throw new UnfoldError('bad-job', {
      where: jobId(message),
      expected: `a message of at most ${MAX_MESSAGE_BYTES} bytes`,
      found: `${bytes} bytes of settings`,
      todo: 'put what is long (token ids, lists of coders) into files, or queue it in several pieces',
    });
  }
}

/** Queues by name, opened as they are needed. */
class Queues {
  readonly #connection: QueueConnection;
  readonly #open = new Map<string, Queue>();
  #known: Promise<string[]> | undefined;

  constructor(connection: QueueConnection) {
    this.#connection = connection;
  }

  named(name: string): Queue {
    const known = this.#open.get(name);
    if (known) return known;
    const queue = new Queue(name, this.#connection.bullmq());
    queue.on('error', () => undefined);
    this.#open.set(name, queue);
    return queue;
  }

  /** The job of this id, whatever tags it was queued with. */
  async job(message: JobMessage): Promise<Job | undefined> {
    this.#known ??= this.#connection.client.smembers(KEYS.queues);
    const own = queueOf(message);
    const others = (await this.#known).filter((name) => parseQueueName(name).stage === message.stage);
    for (const name of new Set([own, ...others])) {
      const job = await this.named(name).getJob(jobId(message));
      if (job) return job;
    }
    return undefined;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((queue) => queue.close()));
  }
}
