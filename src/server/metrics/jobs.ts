/**
 * @file Numbers of the queues (jobs in each state) and of the jobs that run at the moment. What ended has no series of its
 * own, so there are as many as jobs run, and never more than {@link MOST_ACTIVE}.
 */

import { parseQueueName } from '../../jobs/names.ts';
import type { QueueConnection } from '../../jobs/redis/open.ts';
import { viewJob } from '../../jobs/watch/job-view.ts';
import { queueKey, readJobs } from '../../jobs/watch/read.ts';
import type { JobView } from '../../jobs/watch/view.ts';
import type { Sheet } from './gauges.ts';

/** Running jobs that get series of their own. */
export const MOST_ACTIVE = 200;

/** BullMQ's sets of a queue, by the state that they stand for. */
const SETS: readonly (readonly [state: string, set: string, command: 'llen' | 'zcard'])[] = [
  ['waiting', 'wait', 'llen'],
  ['waiting', 'prioritized', 'zcard'],
  ['waiting', 'paused', 'llen'],
  ['active', 'active', 'llen'],
  ['delayed', 'delayed', 'zcard'],
  ['waits', 'waiting-children', 'zcard'],
  ['completed', 'completed', 'zcard'],
  ['failed', 'failed', 'zcard'],
];

const JOBS = 'Jobs of a queue in each state (failed includes cancelled, waits: for other jobs).';
const PAUSED = '1 if the queue takes a rest: its jobs wait until it is resumed.';
const LABELS = { flow: '', stage: '', job: '' };

/** See the file. */
export async function collectJobs(
  sheet: Sheet,
  connection: QueueConnection,
  names: readonly string[],
): Promise<void> {
  const { counts, paused, active } = await readQueues(connection, names);
  declare(sheet);
  for (const name of names) {
    const { stage, tags } = parseQueueName(name);
    const labels = { stage, tags: tags.join('+') };
    for (const [state, value] of counts.get(name) ?? []) {
      sheet.gauge('unfold_jobs', JOBS, { ...labels, state }, value);
    }
    sheet.gauge('unfold_queue_paused', PAUSED, labels, Number(paused.has(name)));
  }
  const found = active.slice(0, MOST_ACTIVE).map(({ queue, id }) => {
    return { queue, id, place: 'active' as const, score: 0, resting: false };
  });
  const [jobs, now] = await Promise.all([readJobs(connection.client, found), connection.time()]);
  for (const raw of jobs) {
    const job = viewJob(raw, undefined, now);
    if (!job.problem) running(sheet, job);
  }
}

interface Queues {
  counts: Map<string, Map<string, number>>;
  paused: Set<string>;
  active: { queue: string; id: string }[];
}

/** All in one round trip. */
async function readQueues({ client }: QueueConnection, names: readonly string[]): Promise<Queues> {
  const queues: Queues = { counts: new Map(), paused: new Set(), active: [] };
  if (names.length === 0) return queues;
  const pipeline = client.pipeline();
  for (const name of names) {
    for (const [, set, command] of SETS) pipeline[command](queueKey(name, set));
    pipeline.hexists(queueKey(name, 'meta'), 'paused');
    pipeline.lrange(queueKey(name, 'active'), 0, MOST_ACTIVE - 1);
  }
  // A key of the wrong type is an error of its own reply: that number is missing, others are not.
  const replies = ((await pipeline.exec()) ?? []).map(([error, reply]) => (error ? undefined : reply));
  for (const [index, name] of names.entries()) {
    const own = replies.slice(index * (SETS.length + 2), (index + 1) * (SETS.length + 2));
    const counts = new Map<string, number>();
    for (const [at, [state]] of SETS.entries()) {
      const value = own[at];
      if (typeof value === 'number') counts.set(state, (counts.get(state) ?? 0) + value);
    }
    queues.counts.set(name, counts);
    if (own[SETS.length] === 1) queues.paused.add(name);
    for (const id of (own[SETS.length + 1] as string[] | undefined) ?? [])
      queues.active.push({ queue: name, id });
  }
  return queues;
}

const HELP = {
  unfold_job_progress_ratio: 'Share of a running job that is done, 0 to 1.',
  unfold_job_tokens_per_second: 'Tokens that a running job handles per second.',
  unfold_job_eta_seconds: 'Seconds that a running job has left.',
  unfold_job_loss: 'Latest loss of a running job, as its coder defines it.',
  unfold_job_l0: 'Latest mean number of active latents per token.',
  unfold_job_explained_variance: 'Latest explained variance, 1 is all.',
  unfold_job_memory_rss_bytes: 'Resident memory of the process that runs the job.',
  unfold_job_attempt: 'How often the running job was begun, this time included.',
} as const;

function declare(sheet: Sheet): void {
  for (const [name, help] of Object.entries(HELP)) sheet.gauge(name, help, LABELS);
  sheet.gauge('unfold_jobs', JOBS, { stage: '', tags: '', state: '' });
  sheet.gauge('unfold_queue_paused', PAUSED, { stage: '', tags: '' });
  sheet.gauge('unfold_job_rate', RATE, { ...LABELS, unit: '' });
}

const RATE = 'Units that a running job handles per second; the unit is a label.';

function running(sheet: Sheet, job: JobView): void {
  const labels = { flow: job.flow, stage: job.stage, job: job.id };
  const { facts = {}, unit = '', rate, eta, memory } = job.progress;
  const values: Record<keyof typeof HELP, number | undefined> = {
    unfold_job_progress_ratio: job.share,
    unfold_job_tokens_per_second: unit === 'tokens' ? rate : undefined,
    unfold_job_eta_seconds: eta,
    unfold_job_loss: facts.loss,
    unfold_job_l0: facts.l0,
    unfold_job_explained_variance: facts.explained_variance,
    unfold_job_memory_rss_bytes: memory?.rss_bytes,
    unfold_job_attempt: job.begun,
  };
  for (const [name, value] of Object.entries(values)) {
    sheet.gauge(name, HELP[name as keyof typeof HELP], labels, value);
  }
  sheet.gauge('unfold_job_rate', RATE, { ...labels, unit: unit.slice(0, 30) }, rate);
}
