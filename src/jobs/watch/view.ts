/**
 * @file What a watcher sees: flows of jobs as plain data, made by {@link snapshot} in snapshot.ts and shown by the table, by
 * `--json`, by the server's page and its metrics. Times are milliseconds since 1970 by Redis's or the worker's clock,
 * durations and ETAs are seconds.
 */
import type { CancelRequest } from '../names.ts';
import type { JobProgress } from '../progress.ts';

/** Where a job stands. */
export type JobState =
  /** In its queue; the next free worker takes it. */
  | 'waiting'
  /** In a queue that takes a rest (`unfold jobs pause`). */
  | 'paused'
  /** To be tried at {@link JobView.until}: a delay that was asked for, or the pause before another attempt. */
  | 'delayed'
  /** A worker has it. */
  | 'active'
  /** For jobs that must be done first. */
  | 'waits'
  /** As `waits`, but one of those failed, was cancelled or is blocked itself: it goes on when that one is retried. */
  | 'blocked'
  | 'completed'
  | 'failed'
  /** Somebody stopped it, before or while it ran. */
  | 'cancelled';

/** All states, in the order of a life. */
export const JOB_STATES = [
  'waiting',
  'paused',
  'delayed',
  'active',
  'waits',
  'blocked',
  'completed',
  'failed',
  'cancelled',
] as const satisfies readonly JobState[];

/** One job. Fields that are not known, or do not apply, are absent. */
export interface JobView {
  id: string;
  queue: string;
  flow: string;
  stage: string;
  /** Which share of the stage's work, for a part of it. */
  part?: string;
  tags: string[];
  state: JobState;
  /** What the worker said last; `{}` before it said anything. */
  progress: JobProgress;
  /** Share done, 0 to 1: its own bar, or its parts. */
  share: number;
  /** Units of `progress.unit` per second, while it runs. */
  rate?: number;
  /** Seconds left, while it runs. */
  eta?: number;
  /** Who has it, or had it last; `lost`: it runs by the books, but its worker has been silent for long. */
  worker?: { id: string; host: string; pid: number; lost?: true };
  /** Attempts that ended, and how many there may be. */
  attempts: number;
  maxAttempts: number;
  /** How often it was begun. */
  begun: number;
  /** How often its worker was lost (BullMQ: stalled) and another took over. */
  recovered: number;
  priority: number;
  created: number;
  /** When the last attempt began, or the first of its parts. */
  started?: number;
  finished?: number;
  /** Seconds from `started` to `finished`, or until now while it runs. */
  seconds?: number;
  /** A delayed job's turn. */
  until?: number;
  /** Asked to stop, and by whom. */
  cancel?: CancelRequest;
  failedReason?: string;
  /** What a completed job returned. */
  result?: unknown;
  /** Ids of the failed or cancelled jobs below a blocked one; ten of them at most. */
  blockedBy?: string[];
  /** The folder that the person named. */
  out?: string;
  /** Said of a job that is not a valid message (then `stage` is the queue's): it is shown, and never run. */
  problem?: string;
  /** Id of the job that waits for this one. */
  parent?: string;
  /** Jobs that this one waits for, or waited for: earlier stages, and its own parts. */
  children: JobView[];
}

/** Jobs that belong together: a pipeline, or a command queued alone. */
export interface FlowView {
  id: string;
  /**
   * `completed` when all is; `active` when a worker has any of it; then `waiting`, `delayed` or `paused` when any of it can
   * go on by itself; else `failed` or `cancelled`.
   */
  state: Exclude<JobState, 'waits' | 'blocked'>;
  /** Share done, 0 to 1: the mean of its stages. */
  share: number;
  /** Seconds left, where every stage that is left has an ETA. */
  eta?: number;
  created: number;
  started?: number;
  finished?: number;
  /** Seconds from `started` to `finished`, or until now. */
  seconds?: number;
  out?: string;
  /** Number of jobs in each state that occurs. */
  counts: Partial<Record<JobState, number>>;
  /** The jobs that nothing waits for; one, unless jobs were removed by hand. */
  roots: JobView[];
}

/** Which flows, and which jobs of them. */
export interface SnapshotFilter {
  /** Beginning of the flow's id. */
  flow?: string;
  /** Keep only jobs in these states (their flows stay, with state and share of the whole). */
  states?: readonly JobState[];
  /** Keep only jobs of these stages. */
  stages?: readonly string[];
  /** Leave out flows that were completed longer ago than so many milliseconds. Default: none is left out. */
  completedWithin?: number;
  /** At most so many flows, the newest. */
  limit?: number;
}

/** Every job of a flow, those that others wait for first; parts in order. */
export function jobsOf(flow: FlowView): JobView[] {
  const list: JobView[] = [];
  const walk = (job: JobView) => {
    for (const child of job.children) walk(child);
    list.push(job);
  };
  for (const root of flow.roots) walk(root);
  return list;
}

/** True if nothing of the flow goes on by itself. */
export function ended(flow: FlowView): boolean {
  return flow.state === 'completed' || flow.state === 'failed' || flow.state === 'cancelled';
}
