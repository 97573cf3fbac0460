/** @file `unfold jobs`: what is queued, what runs and how it does; the commands below it act on jobs. */
import { type Command, InvalidArgumentError } from 'commander';
import { nearest, UnfoldError } from '../../errors.ts';
import type { QueueConnection } from '../../jobs/redis/open.ts';
import { JOB_STATES, type JobState, type SnapshotFilter } from '../../jobs/watch/view.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';
import { knownStages } from '../stage-names.ts';
import { collect } from '../values.ts';
import cancel from './jobs/cancel.ts';
import clean from './jobs/clean.ts';
import log from './jobs/log.ts';
import { pause, resume } from './jobs/pause.ts';
import requeue from './jobs/requeue.ts';
import retry from './jobs/retry.ts';
import { queueOption, withQueue } from './jobs/shared.ts';
import show from './jobs/show.ts';

/** Milliseconds that a completed flow stays in the list without --all. */
const SHOWN = 24 * 3600 * 1000;

const subcommands = [show, log, retry, cancel, pause, resume, clean, requeue];

const command: CommandSpec = {
  name: 'jobs',
  summary:
    'watch queued jobs: state, progress, rate, ETA, loss, worker; show, log, retry, cancel, pause, clean',
  description: `A table of flows and their jobs, redrawn while they run (on a terminal; a pipe gets it once). A flow's stages are
in the order of the work; parts of a stage are below it, as far as they have something to tell.

A job is waiting, paused, delayed, active, completed, failed or cancelled; it waits while jobs before it are under way, and
is blocked when one of those failed: unfold jobs retry mends that one, and the rest goes on by itself.`,
  examples: [
    [
      'unfold enqueue probe --seconds 2 --out runs/probe',
      'something to watch: a job that does nothing for two seconds',
    ],
    ['unfold jobs --once', 'the table, once'],
    ['unfold jobs show probe', 'everything about it; ids may be shortened'],
    ['unfold jobs cancel probe --reason "only a test"', 'stop it'],
    ['unfold jobs retry probe', 'and try it again'],
    ['unfold jobs pause', 'begin no more jobs …'],
    ['unfold jobs resume', '… and go on'],
    ['unfold jobs --state failed --once --json', 'what failed, for programs'],
  ],
  afterStop: BEGINS_AGAIN,
  subcommands,
  modes: {
    of: (_options, [flow]) => (flow === undefined ? 'all flows' : 'one flow'),
    always: ['--state', '--stage', '--parts', '--once', '--until-done', '--queue'],
    takes: { 'all flows': ['--all'], 'one flow': [] },
  },
  configure(command: Command) {
    command
      .argument('[flow]', 'only flows whose id begins so')
      .option('--state <state>', `only jobs in this state (repeatable): ${JOB_STATES.join(', ')}`, state)
      .option('--stage <stage>', 'only jobs of this stage (repeatable)', collect)
      .option('--all', 'completed flows older than a day as well')
      .option('--parts', 'every part of a stage in a row of its own')
      .option('--once', 'print the table once, also on a terminal')
      .option('--until-done', 'leave when all has ended; exit code 1 unless all is completed');
    queueOption(command);
  },
  async run([flow], options, io) {
    const { all, once, parts, untilDone } = options as Record<string, boolean | undefined>;
    const filter: SnapshotFilter = {
      ...(flow !== undefined && { flow }),
      ...(options.state !== undefined && { states: options.state as JobState[] }),
      ...(options.stage !== undefined && { stages: knownStages(options.stage as string[], '--stage') }),
      ...(!all && flow === undefined && { completedWithin: SHOWN }),
    };
    await withQueue(options, io, async (connection) => {
      const { watchJobs } = await import('../watch-jobs.ts');
      const seen = await watchJobs(connection, filter, { once, parts, untilDone }, io);
      const any = seen.flows.length > 0 || filter.states || filter.stages || flow === undefined;
      if (!any && !seen.left) await refuseUnknown(connection, flow);
      const done = seen.flows.every((each) => each.state === 'completed');
      if (untilDone && !done) process.exitCode = seen.left ? 130 : 1;
      else if (seen.left) process.exitCode = 0;
      io.emit({ queue: connection.url, ...seen });
    });
  },
};

export default command;

/** A word that begins no flow's id may be the mistyped name of a subcommand. */
async function refuseUnknown(connection: QueueConnection, word: string): Promise<void> {
  const { resolve } = await import('../../jobs/watch/resolve.ts');
  const names = subcommands.map(({ name }) => name);
  const [meant = ''] = nearest(word, names, 1);
  await resolve(connection, word).catch((error: unknown) => {
    if (!(error instanceof UnfoldError)) throw error;
    const { kind, lesson } = error;
    throw new UnfoldError(kind, { ...lesson, todo: `${lesson.todo}; or did you mean unfold jobs ${meant}?` });
  });
}

function state(value: string, earlier: string[] = []): string[] {
  if (!(JOB_STATES as readonly string[]).includes(value))
    throw new InvalidArgumentError(`one of ${JOB_STATES.join(', ')}`);
  return [...earlier, value];
}
