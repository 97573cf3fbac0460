/**
 * @file The one way messages get into the queue. The same work queued twice is one flow: its id says what it makes, a short
 * lock in Redis keeps two machines from adding it at the same moment, and what is there already is looked at first.
 */
import type { FlowJob } from 'bullmq';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { inParallel } from '../storage/parallel.ts';
import { withElsewhere } from './elsewhere.ts';
import { explainRedis, withLock } from './enqueue-lock.ts';
import { type FlowOptions, type JobTree, messagesOf, pipelineFlow } from './flow.ts';
import { lookUp } from './look-up.ts';
import { jobId, MAX_MESSAGE_BYTES } from './message.ts';
import { KEYS } from './names.ts';
import {
  type AddOptions,
  findQueueFiles,
  type QueueFile,
  removeQueueFile,
  writeQueueFile,
} from './queue-file.ts';
import { Queues, queueOf } from './queues.ts';
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

/** Flows that are added at a time: most of it is waiting for the disk and for Redis. */
const AT_ONCE = 16;

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
  options: AddOptions = {},
): Promise<Enqueued> {
  const [enqueued] = await addAllJobs(connection, [tree], options);
  return enqueued!;
}

/** As {@link addJobs}, for many at once, each a flow of its own; in the order given. */
export async function addAllJobs(
  connection: QueueConnection,
  trees: readonly JobTree[],
  { priority, delay, attempts }: AddOptions = {},
): Promise<Enqueued[]> {
  for (const tree of trees) refuseLarge(tree);
  return addEach(
    connection,
    trees.map((tree) => ({ tree, options: { priority, delay, attempts } })),
  );
}

async function addEach(
  connection: QueueConnection,
  files: readonly { tree: JobTree; options: AddOptions }[],
): Promise<Enqueued[]> {
  const queues = new Queues(connection);
  try {
    const done: Enqueued[] = [];
    await inParallel(files.entries(), AT_ONCE, async ([i, { tree, options }]) => {
      done[i] = await addOne(connection, tree, options, queues);
    });
    return done;
  } finally {
    await queues.close();
  }
}

function addOne(
  connection: QueueConnection,
  tree: JobTree,
  options: AddOptions,
  queues: Queues,
): Promise<Enqueued> {
  const { flow, out } = tree.message;
  const root = { queue: queueOf(tree.message), id: jobId(tree.message) };
  const answer = { flow, root, jobs: messagesOf(tree).length, out };
  return withLock(connection, flow, async () => {
    const { state, failed } = await lookUp(tree, queues);
    if (state !== 'absent') return { ...answer, state, failed };
    const full = await withElsewhere(connection, tree);
    await writeQueueFile(full, options);
    await clearLeftovers(connection, full, queues);
    await explainRedis(connection, () => add(connection, full, options, queues));
    return { ...answer, state: 'queued' as const, failed };
  });
}

/**
 * Queues what the folders below `places` say is unfinished and the queue does not know: after Redis lost its data.
 * @returns what became of each flow found
 * @throws UnfoldError `missing-file` for a place that is not there; `bad-json` for a damaged queue file, after all others
 *   have been queued
 */
export async function requeue(places: readonly string[], connection: QueueConnection): Promise<Enqueued[]> {
  const files: QueueFile[] = [];
  const damaged: UnfoldError[] = [];
  for (const place of places) {
    for await (const file of findQueueFiles(place)) {
      if (file instanceof UnfoldError) damaged.push(file);
      else files.push(file);
    }
  }
  const done = await addEach(connection, files);
  for (const [i, { state }] of done.entries())
    if (state === 'finished before') await removeQueueFile(files[i]!.tree.message);
  if (damaged[0]) throw damaged[0];
  return done;
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

async function add(
  connection: QueueConnection,
  tree: JobTree,
  options: AddOptions,
  queues: Queues,
): Promise<void> {
  const names = [...new Set(messagesOf(tree).map(queueOf))];
  // Before the jobs, so that whoever sees the jobs knows the queue.
  await connection.client.sadd(KEYS.queues, ...names);
  await queues.producer.add(nodeOf(tree, { ...options, timestamp: await connection.time() }));
}

/** `timestamp` by Redis's clock: delays are counted from it. */
function nodeOf({ message, children }: JobTree, options: AddOptions & { timestamp: number }): FlowJob {
  const { attempts = 3, priority, delay, timestamp } = options;
  return {
    name: message.stage,
    queueName: queueOf(message),
    data: message,
    opts: {
      jobId: jobId(message),
      attempts,
      timestamp,
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
