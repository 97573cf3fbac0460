/** @file `unfold jobs retry`: tries failed and cancelled jobs again. */
import type { Command } from 'commander';
import { UnfoldError } from '../../../errors.ts';
import type { Retried } from '../../../jobs/watch/actions.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../../command.ts';
import { plural, queueOption, some, withQueue } from './shared.ts';

const command: CommandSpec = {
  name: 'retry',
  summary: 'try failed and cancelled jobs again; what waits for them goes on by itself',
  description: `Tries again, with all its attempts, every failed or cancelled job of a flow, or a job with those below it; takes
back cancellations. Work goes on where it stopped. Data that is not a message of Unfold is not retried.`,
  examples: [
    ['unfold enqueue probe --seconds 2 --out runs/probe', 'a job that does nothing for two seconds'],
    ['unfold jobs cancel probe', 'stopped, and …'],
    [
      'unfold jobs retry probe',
      '… tried again: what failed or was cancelled of the flow whose id begins with probe',
    ],
    ['unfold jobs retry --failed', 'every failed job in the queue (cancelled ones stay cancelled)'],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    command
      .argument('[ids...]', 'jobs or flows, or the beginnings of their ids')
      .option('--failed', 'every failed job in the queue');
    queueOption(command);
  },
  async run(ids, options, io) {
    if ((ids.length === 0) === !options.failed) {
      throw new UnfoldError('bad-setting', {
        where: 'unfold jobs retry',
        expected: 'ids, or --failed for all failed jobs',
        found: ids.length ? 'both' : 'neither',
        todo: 'unfold jobs --state failed lists what failed',
      });
    }
    await withQueue(options, io, async (connection) => {
      const { resolve, retry } = await import('../../../jobs/watch/actions.ts');
      const { snapshot } = await import('../../../jobs/watch/snapshot.ts');
      const { jobsOf } = await import('../../../jobs/watch/view.ts');
      const flows = options.failed ? await snapshot(connection) : [];
      const failed = flows.flatMap(jobsOf).filter(({ state }) => state === 'failed');
      const targets = [];
      for (const id of ids) targets.push(...(await resolve(connection, id)).jobs);
      const retried = await retry(connection, [
        ...new Map([...failed, ...targets].map((job) => [job.id, job])).values(),
      ]);
      io.emit(retried);
      io.print(report(retried));
    });
  },
};

export default command;

function report({ retried, released, refused }: Retried): string {
  const lines = [
    retried.length ? `${plural(retried.length, 'job')} will be tried again: ${some(retried)}` : '',
    released.length ? `no longer cancelled: ${some(released)}` : '',
    ...refused.slice(0, 10).map(({ id, why }) => `not tried again: ${id}: ${why}`),
  ].filter(Boolean);
  return lines.length ? lines.join('\n') : 'nothing there failed or was cancelled';
}
