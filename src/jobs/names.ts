/**
 * @file What things are called in Redis. One BullMQ queue for each stage and set of tags (`train`, `train@gpu`), all under
 * one prefix whose braces keep them in one slot of a Redis Cluster, as flows over several queues need. Beside BullMQ's
 * keys there are a few of ours.
 */

/** BullMQ's key prefix. */
export const PREFIX = '{unfold}';

/** Our own keys. None holds anything that cannot be made again. */
export const KEYS = {
  /** Set of the names of queues that ever had a job, so that workers and watchers know where to look. */
  queues: `${PREFIX}:unfold-queues`,
  /** Hash job id → who cancelled it and why (JSON {@link CancelRequest}). A worker that meets such a job fails it, once. */
  cancel: `${PREFIX}:unfold-cancel`,
  /** Hash worker id → JSON of {@link WorkerRecord}, rewritten while the worker lives. */
  workers: `${PREFIX}:unfold-workers`,
  /** Prefix of sets of folders in which a stage's key was queued: + key (elsewhere.ts). They expire. */
  made: `${PREFIX}:unfold-made:`,
  /** Prefix of short-lived locks around an enqueue: + flow id. */
  enqueue: `${PREFIX}:unfold-enqueue:`,
} as const;

/** Stages of a pipeline in the order of the flow, and its end; known here without loading what they compute with. */
export const PIPELINE_STAGES = ['corpus', 'harvest', 'train', 'evaluate', 'summary', 'pipeline'] as const;

/** Stages that are commands of their own (`unfold enqueue COMMAND`). */
export const COMMAND_STAGES = ['encode', 'finetune', 'synth', 'probe'] as const;

/** A queue's name: the stage, then the tags that a worker must have, sorted. */
export function queueName(stage: string, tags: readonly string[] = []): string {
  return tags.length === 0 ? stage : `${stage}@${[...new Set(tags)].sort().join('+')}`;
}

/** Stage and tags of a queue's name. */
export function parseQueueName(name: string): { stage: string; tags: string[] } {
  const [stage = '', tags = ''] = name.split('@');
  return { stage, tags: tags === '' ? [] : tags.split('+') };
}

/** Who stopped a job. */
export interface CancelRequest {
  by: string;
  reason: string;
}

/** What a worker says of itself every few seconds. */
export interface WorkerRecord {
  id: string;
  host: string;
  pid: number;
  /** Version of Unfold. */
  unfold: string;
  stages: string[];
  tags: string[];
  /** Below which it writes; absent from workers of earlier versions. */
  roots?: string[];
  concurrency: number;
  backend: string;
  /** Ids of the jobs in its slots. */
  jobs: string[];
  /** Bytes of the worker and its children together. */
  rss_bytes: number;
  /** Jobs ended since it began. */
  completed: number;
  failed: number;
  /** True once it takes no new jobs. */
  stopping: boolean;
  /** Redis's clock, milliseconds: clocks of machines differ. */
  seen: number;
  started: number;
}
