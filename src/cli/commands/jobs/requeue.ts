/** @file `unfold jobs requeue`: queues again what folders say is unfinished. */
import type { Command } from 'commander';
import { BEGINS_AGAIN, type CommandSpec } from '../../command.ts';
import { plural, queueOption, withQueue } from './shared.ts';

/** Flows named one by one. */
const SHOWN = 20;

const command: CommandSpec = {
  name: 'requeue',
  summary: 'queue again what is unfinished in these folders: after Redis lost its data',
  description: `Every flow leaves a file in its folder until it is done. This looks for such files in the folders and below them,
and queues the flows that the queue does not know. What is finished is not done again.`,
  examples: [
    ['unfold enqueue probe --seconds 2 --out runs/probe', 'a job that does nothing for two seconds'],
    [
      'unfold jobs requeue runs',
      'what is unfinished below runs/ and not in the queue (nothing, as long as Redis has it)',
    ],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    queueOption(
      command.argument('<dirs...>', 'folders that were given as --out, or folders above them; or s3:// URLs'),
    );
  },
  async run(dirs, options, io) {
    await withQueue(options, io, async (connection) => {
      const { requeue } = await import('../../../jobs/enqueue.ts');
      const flows = await requeue(dirs, connection);
      io.emit({ flows });
      const queued = flows.filter(({ state }) => state === 'queued');
      io.print(`${plural(queued.length, 'flow')} queued again of ${flows.length} unfinished ones found`);
      for (const { flow, state, out } of flows.slice(0, SHOWN)) io.print(`  ${flow}  ${state}  ${out}`);
      if (flows.length > SHOWN) io.print(`  … and ${flows.length - SHOWN} more`);
    });
  },
};

export default command;
