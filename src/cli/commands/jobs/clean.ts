/** @file `unfold jobs clean`: removes ended flows from the list. */
import type { Command } from 'commander';
import { UnfoldError } from '../../../errors.ts';
import type { FlowView } from '../../../jobs/watch/view.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../../command.ts';
import { milliseconds } from '../../values.ts';
import { plural, queueOption, some, typed, withQueue } from './shared.ts';

interface CleanOptions {
  completed?: boolean;
  failed?: boolean;
  olderThan?: number;
  flow?: string;
  yes?: boolean;
}

const command: CommandSpec = {
  name: 'clean',
  summary: 'forget flows that have ended; says which, and does it with --yes',
  description: `Removes whole flows from the queue, with their logs: completed ones unless --failed is given, never one that can
still go on. Files are never touched: the same work queued again finds what is done.`,
  examples: [
    ['unfold jobs clean --completed --older-than 7d', 'what would be removed'],
    ['unfold jobs clean --completed --failed --older-than 7d --yes', 'remove it'],
    ['unfold enqueue probe --seconds 2 --out runs/probe', 'a job that does nothing for two seconds'],
    ['unfold jobs cancel probe', 'it has ended then'],
    ['unfold jobs clean --flow probe --yes', 'one flow, however it ended'],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    command
      .option('--completed', 'completed flows (the default unless --failed)')
      .option('--failed', 'failed and cancelled flows')
      .option('--older-than <time>', 'only those that ended so long ago: 30m, 12h, 7d', milliseconds)
      .option('--flow <id>', 'one flow, by its id or the beginning of it')
      .option('--yes', 'do it');
    queueOption(command);
  },
  async run(_args, raw, io) {
    const options = raw as CleanOptions;
    await withQueue(raw, io, async (connection) => {
      const { clean, cleanable, resolve } = await import('../../../jobs/watch/actions.ts');
      const { snapshot } = await import('../../../jobs/watch/snapshot.ts');
      const flows = options.flow
        ? [(await resolve(connection, options.flow)).flow]
        : await snapshot(connection);
      const both = options.flow !== undefined && !options.completed && !options.failed;
      const filter = {
        completed: both || options.completed || !options.failed,
        failed: both || Boolean(options.failed),
        olderThan: options.olderThan ?? 0,
      };
      const chosen = cleanable(flows, filter, await connection.time());
      if (options.flow && chosen.length === 0) throw notEnded(flows[0]!, options);
      const ids = chosen.map(({ id }) => id);
      if (chosen.length === 0) {
        io.emit(options.yes ? { removed: [], jobs: 0, kept: [] } : { would_remove: [] });
        return io.print('nothing to remove');
      }
      if (!options.yes) {
        io.emit({ would_remove: ids });
        io.print(`${plural(ids.length, 'flow')} would be removed: ${some(ids, 20)}`);
        return io.print(`add --yes to do it; files stay`);
      }
      const cleaned = await clean(connection, chosen);
      io.emit(cleaned);
      const { removed, jobs, kept } = cleaned;
      io.print(
        `removed: ${plural(removed.length, 'flow')} with ${plural(jobs, 'job')}: ${some(removed, 20)}; files stay`,
      );
      if (kept.length) io.print(`kept, a worker has them again: ${some(kept)}; ${typed('unfold jobs', raw)}`);
    });
  },
};

export default command;

function notEnded(flow: FlowView, { olderThan }: CleanOptions): UnfoldError {
  return new UnfoldError('bad-setting', {
    where: `flow ${flow.id}`,
    expected: olderThan === undefined ? 'one that has ended' : 'one that ended so long ago, as was asked for',
    found: `it is ${flow.state}`,
    todo: `unfold jobs cancel ${flow.id} stops it first`,
  });
}
