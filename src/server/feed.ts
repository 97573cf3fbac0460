/**
 * @file What the server knows of the queue: read at most once a second, however many pages watch, and not at all while
 * nobody does. When Redis is away the last state stays, with the trouble beside it.
 */
import type { QueueConnection } from '../jobs/redis/open.ts';
import { snapshot } from '../jobs/watch/snapshot.ts';
import { type FlowView, type JobView, jobsOf } from '../jobs/watch/view.ts';
import { workers } from '../jobs/watch/workers.ts';
import { oneLine, type Redis } from './redis.ts';

type Worker = Awaited<ReturnType<typeof workers>>[number];

/** A worker, and whether it has been silent for longer than it should. */
export type WorkerView = Worker & { lost: boolean };

/** The queue at one moment. */
export interface State {
  /** Counts the states that were read. */
  number: number;
  /** Milliseconds since 1970, Redis's clock, when it was read. */
  at: number;
  flows: FlowView[];
  /** Every job of the flows, by id. */
  jobs: ReadonlyMap<string, JobView>;
  workers: WorkerView[];
  /** Why it could not be read since. */
  trouble?: string;
}

/** See the methods. */
export interface Feed {
  /** The state, no older than a second; with `trouble` if Redis does not answer. */
  now(): Promise<State>;
  /** Calls back after every reading, until the function that is returned is called. */
  watch(listener: (state: State) => void): () => void;
}

/** What one reading asks for. */
export type ReadState = () => Promise<Omit<State, 'number' | 'trouble' | 'jobs'>>;

/** Milliseconds between readings, and after which one is given up. */
export const INTERVAL = 1000;
const DEADLINE = 8000;
/** Milliseconds of silence after which a worker is marked; it says something every few seconds. */
const SILENT = 12_000;
/** What the page shows without being asked for more. */
const MOST_FLOWS = 100;
const COMPLETED_WITHIN = 7 * 24 * 3_600_000;

/** How the feed reads the queue. */
export function readQueue(connection: QueueConnection): ReadState {
  return async () => {
    const [flows, records, at] = await Promise.all([
      snapshot(connection, { limit: MOST_FLOWS, completedWithin: COMPLETED_WITHIN }),
      workers(connection),
      connection.time(),
    ]);
    return { at, flows, workers: records.map((record) => ({ ...record, lost: at - record.seen > SILENT })) };
  };
}

/** A feed over `read`. `interval` in milliseconds. */
export function createFeed(read: ReadState, redis: Redis, signal: AbortSignal, interval = INTERVAL): Feed {
  let state: State = { number: 0, at: 0, flows: [], jobs: new Map(), workers: [] };
  let readAt = Number.NEGATIVE_INFINITY;
  let took = 0;
  let reading: Promise<State> | undefined;
  let timer: NodeJS.Timeout | undefined;
  const listeners = new Set<(state: State) => void>();

  const refresh = async (): Promise<State> => {
    const began = performance.now();
    state = await next(state, read, redis);
    readAt = performance.now();
    took = readAt - began;
    for (const listener of listeners) listener(state);
    return state;
  };
  const now = async (): Promise<State> => {
    const fresh = performance.now() - readAt < pause();
    if (fresh && (redis.seemsUp() || state.trouble)) return state;
    reading ??= refresh().finally(() => (reading = undefined));
    return reading;
  };
  /** A queue that takes long to read is read less often: at most a third of the time is spent on it. */
  const pause = () => Math.max(interval, 2 * took);
  const loop = () => {
    clearTimeout(timer);
    timer = undefined;
    if (listeners.size === 0 || signal.aborted) return;
    const left = Math.max(0, readAt + pause() - performance.now());
    timer = setTimeout(() => void now().then(loop), left);
    timer.unref();
  };
  signal.addEventListener('abort', loop, { once: true });
  return {
    now,
    watch(listener) {
      listeners.add(listener);
      if (!timer) loop();
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) loop();
      };
    },
  };
}

async function next(before: State, read: ReadState, redis: Redis): Promise<State> {
  const number = before.number + 1;
  try {
    const known = await redis.ask(read, DEADLINE);
    const jobs = new Map(known.flows.flatMap(jobsOf).map((job) => [job.id, job]));
    return { ...known, jobs, number };
  } catch (error) {
    return { ...before, number, trouble: oneLine(error) };
  }
}
