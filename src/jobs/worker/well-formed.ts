/**
 * @file Whether a job as it lies in Redis can be finished at all. Anybody can write to Redis; a job whose own bookkeeping is
 * garbage would make BullMQ's scripts fail half-way, time after time.
 */
import type { Job } from 'bullmq';

/** Why the job cannot be handled, if so. */
export function malformed(job: Job): string | undefined {
  const parent: unknown = job.parent;
  if (parent !== undefined && !isParent(parent)) return 'its parent is not a job’s id and queue';
  if (job.id === undefined || job.id === '') return 'it has no id';
  return undefined;
}

function isParent(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { id, queueKey } = value as Record<string, unknown>;
  return typeof id === 'string' && typeof queueKey === 'string';
}

/** Options that BullMQ would stumble over when the job fails are replaced by none. */
export function mendOptions(job: Job): void {
  const { opts } = job;
  const backoff = opts.backoff as { type?: unknown; delay?: unknown } | undefined;
  const known = backoff?.type === 'fixed' || backoff?.type === 'exponential';
  if (backoff && !(known && Number.isFinite(backoff.delay))) opts.backoff = undefined;
  if (!Number.isFinite(opts.attempts)) opts.attempts = 1;
  for (const name of ['removeOnComplete', 'removeOnFail'] as const)
    if (!isKeep(opts[name])) opts[name] = undefined;
}

function isKeep(value: unknown): boolean {
  if (value === undefined || typeof value === 'boolean' || Number.isFinite(value)) return true;
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).every((entry) => entry === undefined || Number.isFinite(entry));
}
