/** @file `unfold serve`: watch the queue in a browser, and by Prometheus. */
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';
import { port } from '../values.ts';

const command: CommandSpec = {
  name: 'serve',
  summary: 'watch the queue in a browser: flows, workers, logs; bull-board; metrics for Prometheus',
  description: [
    'Serves a page of all flows with progress, rate, losses and logs, which changes while you look at it, with buttons to',
    'cancel, retry and pause; bull-board at /queues; Prometheus metrics at /metrics; /health and /ready for supervisors; the',
    'same as JSON under /api. Only this machine reaches it unless --host says otherwise, and then only with a token.',
  ].join('\n'),
  examples: [
    ['unfold serve', 'the queue of this machine, at http://127.0.0.1:7870/'],
    [
      'unfold serve --queue redis://queue.example:6379 --host 0.0.0.0 --read-only',
      'for everybody with the token, who may look but not touch',
    ],
    [
      'unfold serve --port 0 --runs runs --json',
      'any free port, named in one JSON line; sizes of all runs in runs/',
    ],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command) {
    command
      .option(
        '--queue <url>',
        'the queue’s Redis (default: UNFOLD_QUEUE, else the private server of this machine)',
      )
      .option('--port <number>', 'port to listen on; 0: any that is free', port, 7870)
      .option('--host <address>', 'address to listen on; 0.0.0.0: all networks', '127.0.0.1')
      .option('--read-only', 'nothing can be changed from here')
      .option(
        '--token <text>',
        'asked of everyone (default: UNFOLD_TOKEN; made up if --host is not this machine)',
      )
      .option('--runs <dir...>', 'folders of runs whose size is shown, besides those of the queue’s flows');
  },
  async run(_args, options, io) {
    const { startServer } = await import('../../server/server.ts');
    const server = await startServer(
      {
        ...(typeof options.queue === 'string' ? { queue: options.queue } : {}),
        port: options.port as number,
        host: String(options.host),
        readOnly: Boolean(options.readOnly),
        ...tokenOf(options.token),
        runs: (options.runs as string[] | undefined) ?? [],
      },
      io.context,
    );
    const secret = server.token === undefined ? '' : `?token=${encodeURIComponent(server.token)}`;
    io.print(`Unfold serves ${server.url}${secret}\n  queue    ${server.queue}`);
    io.print(`  metrics  ${server.url}metrics\n  Ctrl-C ends it`);
    io.emit({
      url: server.url,
      queue: server.queue,
      token: server.token ?? null,
      read_only: Boolean(options.readOnly),
      pid: process.pid,
    });
    await aborted(io.context.signal);
    await server.close();
    // It was told to end, and did: no failure, for whoever supervises it.
    process.exitCode = 0;
  },
};

export default command;

/** The environment is the better place for a secret: arguments are seen by everybody on the machine. */
function tokenOf(given: unknown): { token?: string } {
  const token = typeof given === 'string' ? given : process.env.UNFOLD_TOKEN || undefined;
  return token === undefined ? {} : { token };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
