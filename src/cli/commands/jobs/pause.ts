/** @file `unfold jobs pause` and `unfold jobs resume`. */
import type { Command } from 'commander';
import { BEGINS_AGAIN, type CommandSpec } from '../../command.ts';
import { plural, queueOption, typed, withQueue } from './shared.ts';

const configure = (command: Command) => {
  queueOption(command.argument('[stages...]', 'stages or queues (train, train@gpu); none for all'));
};

export const pause: CommandSpec = {
  name: 'pause',
  summary: 'begin no more jobs, of some stages or of all; running jobs go on',
  examples: [
    ['unfold enqueue probe --seconds 2 --out runs/probe', 'a job that does nothing for two seconds'],
    ['unfold jobs pause', 'no worker begins anything'],
    ['unfold jobs pause probe', 'jobs of one stage rest, others go on'],
  ],
  afterStop: BEGINS_AGAIN,
  configure,
  async run(stages, options, io) {
    await withQueue(options, io, async (connection) => {
      const actions = await import('../../../jobs/watch/actions.ts');
      const rested = await actions.pause(connection, stages);
      io.emit(rested);
      const { queues, running } = rested;
      if (queues.length === 0) return io.print('there are no queues yet');
      io.print(`paused: ${queues.join(', ')}; ${plural(running, 'running job')} of them go on to the end`);
      io.print(`to go on: ${typed(['unfold jobs resume', ...stages].join(' '), options)}`);
    });
  },
};

export const resume: CommandSpec = {
  name: 'resume',
  summary: 'end a pause',
  examples: [['unfold jobs resume', 'all queues go on']],
  afterStop: BEGINS_AGAIN,
  configure,
  async run(stages, options, io) {
    await withQueue(options, io, async (connection) => {
      const actions = await import('../../../jobs/watch/actions.ts');
      const rested = await actions.resume(connection, stages);
      io.emit(rested);
      io.print(rested.queues.length ? `go on: ${rested.queues.join(', ')}` : 'there are no queues yet');
    });
  },
};
