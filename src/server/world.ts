/**
 * @file What every page and route of `unfold serve` is given. A route module is a function of the application and this
 * world (see app.ts), so that later pages are one more file each.
 */
import type { Context, Hono } from 'hono';
import type { QueueConnection } from '../jobs/redis/open.ts';
import type { Feed } from './feed.ts';
import type { QueueSet } from './queues.ts';
import type { Redis } from './redis.ts';

/** The server's world. */
export interface World {
  connection: QueueConnection;
  /** Whether Redis answers, and why not. */
  redis: Redis;
  /** Flows and workers, read once a second however many watch. */
  feed: Feed;
  /** BullMQ's queues, opened once. */
  queues: QueueSet;
  /** True if who asks has shown the token, or needs none. */
  trusted(c: Context): boolean;
  /** Nothing may be changed from here. */
  readOnly: boolean;
  /** Folders of runs whose size is shown, besides those of the flows. */
  runs: readonly string[];
  /** Aborted when the server ends: streams end with it. */
  signal: AbortSignal;
}

/** Adds the routes of one subject. */
export type Routes = (app: Hono, world: World) => void;
