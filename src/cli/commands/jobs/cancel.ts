/** @file `unfold jobs cancel`: stops jobs and flows. */
import { hostname, userInfo } from 'node:os';
import type { Command } from 'commander';
import type { Cancelled } from '../../../jobs/watch/actions.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../../command.ts';
import { plural, queueOption, some, typed, withQueue } from './shared.ts';

const command: CommandSpec = {
  name: 'cancel',
  summary: 'stop a job or a flow; running jobs checkpoint and end within seconds',
  description: `Cancels all jobs of a flow that are not done, or one job with its parts (not the earlier stages that it waits
for). What waits is failed at once, what runs is told to stop after the unit in hand, with a checkpoint. Files stay;
unfold jobs retry goes on from there.`,
  examples: [
    ['unfold enqueue probe --seconds 2 --out runs/probe', 'a job that does nothing for two seconds'],
    ['unfold jobs cancel probe --reason "wrong data"', 'stop it; unfold jobs shows who did it and why'],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    command
      .argument('<ids...>', 'jobs or flows, or the beginnings of their ids')
      .option('--reason <text>', 'said to whoever looks at the jobs', '');
    queueOption(command);
  },
  async run(ids, options, io) {
    const request = { by: person(), reason: options.reason as string };
    await withQueue(options, io, async (connection) => {
      const { cancel, resolve } = await import('../../../jobs/watch/actions.ts');
      const all: Cancelled = { cancelled: [], asked: [], held: [], ended: [] };
      const targets = [];
      for (const id of ids) targets.push(await resolve(connection, id));
      for (const target of targets) {
        const result = await cancel(connection, target, request);
        for (const name of ['cancelled', 'asked', 'held', 'ended'] as const) all[name].push(...result[name]);
      }
      io.emit(all);
      io.print(report(all));
      const [only] = targets;
      if (only && targets.length === 1 && all.ended.length < only.jobs.length)
        io.print(`to go on: ${typed(`unfold jobs retry ${(only.job ?? only.flow).id}`, options)}`);
    });
  },
};

export default command;

function report({ cancelled, asked, held, ended }: Cancelled): string {
  const lines = [
    cancelled.length ? `cancelled: ${plural(cancelled.length, 'waiting job')}: ${some(cancelled)}` : '',
    asked.length ? `being stopped by their workers: ${some(asked)}` : '',
    held.length ? `will not begin: ${some(held)}` : '',
    !cancelled.length && !asked.length && !held.length
      ? `nothing to cancel: ${some(ended)} ended before`
      : '',
  ];
  return lines.filter(Boolean).join('\n');
}

/** `ada@lab3`: whom to ask. */
function person(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // A container may run as a user without a name.
    return `uid ${process.getuid?.() ?? '?'}@${hostname()}`;
  }
}
