/**
 * @file The queue as a library, `unfold-sae/queue`: what `enqueue`, `worker`, `jobs`, `serve`, `queue` and `copy` do,
 * typed. An entry of its own, because Redis's and S3's clients need not be loaded by a program that only computes.
 *
 * @example
 * ```ts
 * import { enqueuePipeline, openQueue, silent, snapshot, startWorker } from 'unfold-sae/queue';
 *
 * const context = silent();
 * const connection = await openQueue('redis://queue.example:6379', context);
 * const { flow } = await enqueuePipeline('quickstart', { out: '/shared/runs/quickstart' }, connection, context);
 * const worker = await startWorker({ queue: 'redis://queue.example:6379', drain: true }, context);
 * await worker.closed;
 * console.log(await snapshot(connection, { flow }));
 * ```
 */

export { type ProgressBar, type StageContext, silent } from './context.ts';
export { type Lesson, UnfoldError } from './errors.ts';
// Work into the queue
export {
  type AddOptions,
  addAllJobs,
  addJobs,
  type Enqueued,
  enqueuePipeline,
  requeue,
} from './jobs/enqueue.ts';
export { executeJob } from './jobs/execute.ts';
export { type FlowOptions, type JobTree, pipelineFlow } from './jobs/flow.ts';
export { type DirectOptions, directMessage, enqueueDirect, runDirect } from './jobs/kinds/direct.ts';
export { jobKind, kindNames } from './jobs/kinds/index.ts';
export type { JobKind, JobRequest } from './jobs/kinds/kind.ts';
export { type JobMessage, jobId, parseMessage } from './jobs/message.ts';
export {
  type CancelRequest,
  KEYS,
  PREFIX,
  parseQueueName,
  queueName,
  type WorkerRecord,
} from './jobs/names.ts';
export type { JobProgress } from './jobs/progress.ts';
export { jobContext } from './jobs/progress-context.ts';
// Where Redis is
export { type OpenOptions, openQueue, type QueueConnection } from './jobs/redis/open.ts';
export { type PrivateServer, startPrivateServer } from './jobs/redis/private-server.ts';
export { type QueueCounts, type QueueStatus, queueStatus } from './jobs/redis/status.ts';
export { stopPrivateServer } from './jobs/redis/stop.ts';
export { parseRedisUrl, type RedisAddress } from './jobs/redis/url.ts';
// Watching, and what can be done to jobs
export { cancel, clean, cleanable, pause, resolve, resume, retry } from './jobs/watch/actions.ts';
export { details, type JobDetails } from './jobs/watch/details.ts';
export { follow } from './jobs/watch/follow.ts';
export { followLogs, type LogLine, readLogs } from './jobs/watch/logs.ts';
export {
  type FlowView,
  type JobState,
  type JobView,
  type SnapshotFilter,
  snapshot,
  workers,
} from './jobs/watch/snapshot.ts';
export { ended, jobsOf } from './jobs/watch/view.ts';
// Work out of it
export {
  type RunningWorker,
  startWorker,
  type WorkerOptions,
  type WorkerSummary,
} from './jobs/worker/worker.ts';
// Locks in folders
export { type Lock, type LockOptions, lockDirectory, lockPath, lockShards, type ShardRange } from './lock.ts';
// Pages and numbers
export { type RunningServer, type ServerOptions, startServer } from './server/server.ts';
export { type Endpoints, type ShownWorker, workerEndpoints } from './server/worker-endpoints.ts';
// Artifacts in folders and buckets
export { copyPlace } from './storage/copy.ts';
export { openStore } from './storage/open.ts';
export type { ArtifactStore, PutOptions, StoredFile } from './storage/store.ts';
export { pull, push, type SyncOptions } from './storage/sync.ts';
export { type Workspace, type WorkspaceOptions, withWorkspace } from './storage/workspace.ts';
