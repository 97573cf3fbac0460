/** @file `unfold jobs show`: everything about one job or flow. */
import type { Command } from 'commander';
import pc from 'picocolors';
import { barCell, noteCell, sparkline, stateCell } from '../../../jobs/watch/cells.ts';
import type { JobDetails } from '../../../jobs/watch/details.ts';
import { printable } from '../../../printable.ts';
import { BEGINS_AGAIN, type CommandIO, type CommandSpec } from '../../command.ts';
import { duration } from '../../terminal.ts';
import { commandLines, lines, queueOption, withQueue } from './shared.ts';

const command: CommandSpec = {
  name: 'show',
  summary: 'everything about one job or flow: settings, folder, times, attempts, why it failed, what to do',
  description: `Shows a job, or a flow with all its jobs. ID is the id or its beginning, as long as only one job or flow begins
so; unfold jobs lists them.`,
  examples: [
    ['unfold enqueue probe --seconds 2 --out runs/probe', 'a job that does nothing for two seconds'],
    ['unfold jobs show probe', 'the job or flow whose id begins with probe'],
    ['unfold jobs show probe --json', 'the same for programs'],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    queueOption(command.argument('<id>', 'a job or a flow, or the beginning of its id'));
  },
  async run([id = ''], options, io) {
    await withQueue(options, io, async (connection) => {
      const { resolve } = await import('../../../jobs/watch/resolve.ts');
      const { commandsFor, details } = await import('../../../jobs/watch/details.ts');
      const { jobsOf } = await import('../../../jobs/watch/view.ts');
      const target = await resolve(connection, id);
      const job = target.job ?? (target.jobs.length === 1 ? target.jobs[0] : undefined);
      if (job) return showJob(await details(connection, { ...target, job }), options, io);
      io.emit({ flow: { ...target.flow, commands: commandsFor(target.flow) } });
      const { renderFlows } = await import('../../../jobs/watch/render.ts');
      const { workers } = await import('../../../jobs/watch/workers.ts');
      const now = await connection.time();
      const width = process.stdout.isTTY ? process.stdout.columns : undefined;
      io.print(
        renderFlows([target.flow], await workers(connection), { now, parts: true, ...(width && { width }) }),
      );
      const broken = jobsOf(target.flow).filter(({ state }) => state === 'failed');
      for (const { id, failedReason = '' } of broken.slice(0, 3))
        io.print(`\n${pc.red(id)}\n${indent(failedReason)}`);
      io.print(`\n${commandLines(commandsFor(target.flow), options)}`);
    });
  },
};

export default command;

function showJob(job: JobDetails, options: Record<string, unknown>, io: CommandIO): void {
  io.emit({ job });
  if (io.json) return;
  const note = job.state === 'failed' ? '' : noteCell({ ...job, children: [] });
  const rows: [string, string][] = [
    [
      'state',
      `${stateCell(job.state)} ${barCell(job.share, job.state === 'active')} ${printable(note)}`.trim(),
    ],
    ['queue', `${job.queue}${job.priority ? `, priority ${job.priority}` : ''}`],
    ['out', job.out ?? ''],
    ['folder', job.folder ?? ''],
    ['times', timesOf(job)],
    ['attempts', attemptsOf(job)],
    [
      'worker',
      job.worker ? `${job.worker.host}, process ${job.worker.pid}${job.worker.lost ? ' (silent)' : ''}` : '',
    ],
    ['needed by', job.ancestors.join(' ← ')],
    [
      'needs',
      job.children
        .slice(0, 20)
        .map(({ id, state }) => `${id} (${state})`)
        .join('\n'),
    ],
    ['numbers', factsOf(job)],
    ['losses', sparkline(job.progress.losses)],
    ['settings', job.message ? JSON.stringify(job.message.settings, null, 2) : ''],
    ['data', job.garbage ?? ''],
    ['result', job.result === undefined ? '' : JSON.stringify(job.result, null, 2)],
    ['log', job.logLines ? `${job.logLines} lines` : ''],
  ];
  const filled = rows.filter(([, text]) => text !== '');
  io.print(`${pc.bold(printable(job.id))}\n`);
  io.print(lines(filled.map(([name, text]) => [pc.dim(name), name === 'state' ? text : safeLines(text)])));
  if (job.failedReason && job.state !== 'active')
    io.print(`\n${pc.red('failed')}\n${indent(job.failedReason)}`);
  if (job.state === 'failed' && job.stack && !job.failedReason?.includes('\n  to mend '))
    io.print(pc.dim(indent(job.stack)));
  io.print(`\n${commandLines(job.commands, options)}`);
}

function timesOf({ created, started, finished, seconds }: JobDetails): string {
  const at = (time: number) => new Date(time).toISOString().replace('T', ' ').slice(0, 19);
  return [
    created ? `queued ${at(created)}` : '',
    started === undefined ? '' : `begun ${at(started)}`,
    finished === undefined ? '' : `ended ${at(finished)}`,
    seconds === undefined ? '' : duration(seconds),
  ]
    .filter(Boolean)
    .join(', ');
}

function attemptsOf({ attempts, maxAttempts, begun, recovered }: JobDetails): string {
  const times = begun === 1 ? 'once' : `${begun} times`;
  const lost = recovered ? `, ${recovered} of them for a lost worker` : '';
  return begun ? `begun ${times}${lost}; ${attempts} of ${maxAttempts} used` : `none of ${maxAttempts} used`;
}

function factsOf({ progress }: JobDetails): string {
  return Object.entries(progress.facts ?? {})
    .map(([name, value]) => `${name} ${Number(value.toPrecision(5))}`)
    .join(', ');
}

function indent(text: string): string {
  return safeLines(text).replace(/^/gm, '  ');
}

/** Text of several lines from the queue, without characters that would move the cursor. */
function safeLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}
