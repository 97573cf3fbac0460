/**
 * @file What a running job tells whoever watches: BullMQ's progress of the job, rewritten at most twice a second. Lines of
 * text go to the job's log.
 */
import type { Lesson } from '../errors.ts';

/** Progress of a job. Everything is the latest known. */
export interface JobProgress {
  /** The bar that moves at the moment: harvest, train, evaluate … */
  label?: string;
  done?: number;
  total?: number;
  unit?: string;
  /** Units per second. */
  rate?: number;
  /** Seconds left of this bar. */
  eta?: number;
  /** Text beside the bar. */
  note?: string;
  /** Numbers by name, as they were last reported: loss, l0, explained_variance … */
  facts?: Record<string, number>;
  /** Up to 60 earlier losses, oldest first, evenly thinned, for a sparkline. */
  losses?: number[];
  worker?: { id: string; host: string; pid: number; child: number };
  memory?: { rss_bytes: number };
  /** How often the job was begun, this time included; above 1 it was resumed, retried or recovered. */
  attempt?: number;
  /** Why it failed, for machines; the job's failedReason has the same as text. */
  failure?: { kind: string } & Omit<Lesson, 'cause'>;
}
