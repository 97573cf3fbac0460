/**
 * @file Claim: 10,000 jobs, eight workers on one machine, workers killed with -9 on the way: none lost, none done twice. What
 * a job costs beyond its work is measured beside it: jobs of no length, undisturbed, against BullMQ alone with as many
 * processes whose jobs do nothing, leave nothing on disk and share the worker's own process.
 */
import { FaultWorld } from '../test/jobs/faults/world.ts';
import type { BenchLine } from './line.ts';
import { bareJobs, type ManyJobs, manyJobs } from './support/many-jobs.ts';

const QUIET: ManyJobs = { jobs: 2_000, workers: 8, kills: 0, seed: 1, lockMilliseconds: 10_000 };
const KILLED: ManyJobs = { jobs: 10_000, workers: 8, kills: 12, seed: 1, lockMilliseconds: 5_000 };

export async function run(): Promise<BenchLine[]> {
  const world = await FaultWorld.open();
  try {
    const bare = await bareJobs(world, QUIET);
    const quiet = await manyJobs(world, 'quiet', QUIET);
    const killed = await manyJobs(world, 'killed', KILLED);
    const perJob = (seconds: number, jobs: number) => rounded((1000 * seconds) / jobs);
    const wrong = killed.lost + killed.done_twice + killed.failed + quiet.lost + quiet.done_twice;
    return [
      {
        name: 'queue-overhead',
        value: rounded(quiet.seconds / bare),
        unit: 'x',
        ratio_to: `time of BullMQ alone for ${QUIET.jobs} jobs that do nothing, ${QUIET.workers} processes`,
        detail: {
          ...QUIET,
          milliseconds_per_job: perJob(quiet.seconds, QUIET.jobs),
          bare_milliseconds_per_job: perJob(bare, QUIET.jobs),
          jobs_per_second: rounded(QUIET.jobs / quiet.seconds),
          enqueued_per_second: rounded(QUIET.jobs / quiet.enqueue_seconds),
        },
      },
      {
        name: 'queue-faults',
        value: wrong,
        bound: 0,
        passed: wrong === 0 && killed.kills === KILLED.kills,
        unit: 'jobs',
        ratio_to: `jobs lost, failed, or done twice, of ${KILLED.jobs}, with ${KILLED.kills} workers killed`,
        detail: {
          ...KILLED,
          ...killed,
          seconds: rounded(killed.seconds),
          enqueue_seconds: rounded(killed.enqueue_seconds),
          jobs_per_second: rounded(KILLED.jobs / killed.seconds),
          peak_rss_MB: Math.round(killed.peak_rss / 1e6),
        },
      },
    ];
  } finally {
    await world.close();
  }
}

const rounded = (value: number) => Number(value.toPrecision(4));
