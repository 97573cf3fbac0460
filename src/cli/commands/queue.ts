/** @file `unfold queue`: where the queue is and how it does; starts and stops the private one. */
import type { Command } from 'commander';
import pc from 'picocolors';
import { UnfoldError } from '../../errors.ts';
import { pasteable } from '../../invocation.ts';
import type { ServerFacts } from '../../jobs/redis/inspect.ts';
import type { QueueStatus } from '../../jobs/redis/status.ts';
import { printable } from '../../printable.ts';
import { textTable } from '../../table.ts';
import { BEGINS_AGAIN, type CommandIO, type CommandSpec } from '../command.ts';
import { compact, duration } from '../terminal.ts';

const ACTIONS = ['status', 'start', 'stop'] as const;

const command: CommandSpec = {
  name: 'queue',
  summary: 'show where the job queue is (Redis), what is in it and who works; start or stop the private one',
  description: `Jobs wait in Redis: at --queue URL, else at UNFOLD_QUEUE, else in a private redis-server of this machine, which the
first command that needs a queue starts on a Unix socket ($UNFOLD_STATE, else ~/.local/state/unfold) and which goes on
after that command. Its data is in an append-only file: jobs survive a crash and unfold queue stop.

URL is one of: redis://[user:password@]host[:6379][/db], rediss://… for TLS (?ca=FILE for your own authority),
redis+unix:///path/redis.sock[?db=1], redis+sentinel://[user:password@]host:26379,host:26379/MASTER[/db],
redis+cluster://[user:password@]host:7000,host:7001 (rediss+sentinel, rediss+cluster: with TLS).
In a password, @ / ? % are written %40 %2F %3F %25. REDIS_URL is not read: it is often another application's.

A Redis for jobs needs maxmemory-policy noeviction, and appendonly yes if jobs are to survive its end.`,
  examples: [
    ['unfold queue', 'where it is, its memory and persistence, jobs by queue, workers'],
    ['unfold queue start', 'start the private one now; prints its URL'],
    ['unfold queue --json', 'the same for programs'],
    ['unfold queue stop', 'end the private one; its jobs stay in its file'],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    command
      .argument('[action]', ACTIONS.join(', '), 'status')
      .option('--queue <url>', 'which Redis (default UNFOLD_QUEUE, else the private one)');
  },
  async run([action = 'status'], options, io) {
    const url = options.queue as string | undefined;
    if (action === 'status') return status(url, io);
    if (action !== 'start' && action !== 'stop') throw wrong('one of status, start, stop', action);
    if (url)
      throw wrong(`${action} without --queue: it is about the private server`, `--queue with ${action}`);
    await (action === 'start' ? start(io) : stop(io));
  },
};

export default command;

function wrong(expected: string, found: string): UnfoldError {
  return new UnfoldError('bad-setting', {
    where: 'unfold queue',
    expected,
    found,
    todo: 'unfold queue --help',
  });
}

async function start(io: CommandIO): Promise<void> {
  const { startPrivateServer } = await import('../../jobs/redis/private-server.ts');
  const { url, folder, started } = await startPrivateServer(io.context);
  io.print(`${started ? 'started' : 'running already'}: ${url}`);
  if (process.env.UNFOLD_QUEUE)
    io.context.warn('UNFOLD_QUEUE is set: commands use that one, not the private one');
  io.emit({ url, folder, started });
}

async function stop(io: CommandIO): Promise<void> {
  const { stopPrivateServer } = await import('../../jobs/redis/stop.ts');
  const stopped = await stopPrivateServer();
  io.emit(stopped);
  if (!stopped.stopped) return io.print('the private Redis does not run');
  const { clients, folder } = stopped;
  io.print(`stopped; its jobs are kept in ${folder}`);
  if (clients > 0) {
    io.print(
      `${clients} connections of others were open: workers wait for ${pasteable('unfold queue start')}`,
    );
  }
}

async function status(url: string | undefined, io: CommandIO): Promise<void> {
  const { queueStatus } = await import('../../jobs/redis/status.ts');
  const found = await queueStatus(url, io.context);
  io.emit(found);
  io.print(found.running ? report(found) : notRunning(found));
}

function notRunning({ url }: QueueStatus): string {
  return `${pc.bold(url)}\nThe private Redis does not run; the first command that needs a queue starts it, or ${pasteable('unfold queue start')}.`;
}

function report(found: QueueStatus): string {
  const who = found.private ? `private${found.process ? `, process ${found.process.pid}` : ''}` : '';
  const lines = found.judgements.map(({ severity, lesson }) => {
    const sign = severity === 'note' ? pc.dim('·') : severity === 'warning' ? pc.yellow('!') : pc.red('✗');
    return `${sign} ${lesson.found}; expected ${lesson.expected}\n  ${pc.dim(lesson.todo)}`;
  });
  return [
    `${pc.bold(found.url)}${who ? pc.dim(`  (${who})`) : ''}\n${servers(found.servers)}`,
    lines.join('\n'),
    queues(found),
    workers(found),
  ]
    .filter(Boolean)
    .join('\n\n');
}

function servers(list: readonly ServerFacts[]): string {
  const nodes = list.some(({ node }) => node !== '');
  const head = ['server', 'persistence', 'memory', 'policy', 'clients', 'up'];
  const rows = list.map((facts) => [
    ...(nodes ? [facts.node] : []),
    `${facts.software} ${facts.version}`,
    persistence(facts),
    `${compact(facts.memory_bytes)}B${facts.memory_limit_bytes ? ` of ${compact(facts.memory_limit_bytes)}B` : ''}`,
    facts.policy ?? '?',
    facts.clients,
    duration(facts.uptime_seconds),
  ]);
  return textTable(nodes ? ['node', ...head] : head, rows);
}

function persistence({ aof, aof_fsync, save }: ServerFacts): string {
  if (aof) return `append-only file${aof_fsync ? `, fsync ${aof_fsync}` : ''}`;
  return save === undefined ? 'no append-only file' : save ? `snapshots (${save})` : 'none';
}

function queues({ queues: list }: QueueStatus): string {
  if (list.length === 0) return 'no jobs were ever queued here';
  const rows = list.map((queue) => [
    printable(queue.paused ? `${queue.name} (paused)` : queue.name),
    ...[queue.waiting, queue.active, queue.delayed, queue.waiting_children, queue.completed, queue.failed],
  ]);
  const head = ['queue', 'waiting', 'active', 'delayed', 'waiting for others', 'completed', 'failed'];
  return textTable(head, rows, { align: ['left', ...Array(6).fill('right')] });
}

function workers({ workers: list }: QueueStatus): string {
  if (list.length === 0) return `no workers; ${pasteable('unfold worker')} starts one`;
  const rows = list.map((worker) => [
    printable(worker.id),
    printable(worker.host),
    `${worker.jobs.length}/${worker.concurrency}`,
    printable(worker.stages.join(' ')) || 'all',
    printable(worker.tags.join(' ')),
    `${compact(worker.rss_bytes)}B`,
    `${worker.completed} done, ${worker.failed} failed${worker.stopping ? ', stopping' : ''}`,
  ]);
  return textTable(['worker', 'host', 'slots', 'stages', 'tags', 'memory', ''], rows);
}
