/** @file `unfold jobs log`: what jobs said. */
import type { Command } from 'commander';
import pc from 'picocolors';
import type { LogLine } from '../../../jobs/watch/logs.ts';
import { printable } from '../../../printable.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../../command.ts';
import { natural } from '../../values.ts';
import { queueOption, withQueue } from './shared.ts';

const command: CommandSpec = {
  name: 'log',
  summary: 'the log of a job, or of all jobs of a flow; --follow shows new lines until it ends',
  description: `Prints the notes, warnings and failures of a job. With a flow, its jobs come one after the other, each line behind
the job's name. With --json: one array of {job, line}, and with --follow one object a line (NDJSON).`,
  examples: [
    ['unfold enqueue probe --seconds 2 --out runs/probe', 'a job that does nothing for two seconds'],
    ['unfold worker --drain', 'done by a worker, here or on another machine'],
    ['unfold jobs log probe', 'all that it said so far'],
    ['unfold jobs log probe --tail 20 --follow', 'the last 20 lines, then new ones until the job ends'],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    command
      .argument('<id>', 'a job or a flow, or the beginning of its id')
      .option('--follow', 'go on until it ends')
      .option('--tail <n>', 'only the last lines of each job', natural);
    queueOption(command);
  },
  async run([id = ''], options, io) {
    const { follow, tail } = options as { follow?: boolean; tail?: number };
    await withQueue(options, io, async (connection) => {
      const { resolve } = await import('../../../jobs/watch/resolve.ts');
      const { followLogs, readLogs } = await import('../../../jobs/watch/logs.ts');
      const target = await resolve(connection, id);
      const single = target.jobs.length === 1;
      const print = ({ job, line }: LogLine) => {
        const name = single ? '' : pc.dim(`${printable(job.replace(`${target.flow.id}.`, ''))} | `);
        for (const text of line.split('\n')) io.print(name + printable(text));
      };
      if (follow) {
        const { workers } = await import('../../../jobs/watch/workers.ts');
        const idle = target.flow.state === 'waiting' && (await workers(connection)).length === 0;
        if (idle) io.context.note('it waits for a worker, and there is none: unfold worker starts one');
        const say = (line: LogLine) => (io.json ? io.emit(line) : print(line));
        return followLogs(connection, target, tail, say, io.context.signal);
      }
      const lines = await readLogs(connection, target.jobs, tail);
      for (const line of lines) print(line);
      io.emit(lines);
    });
  },
};

export default command;
