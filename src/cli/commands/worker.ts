/** @file `unfold worker`: does the queue's jobs on this machine until it is stopped. */
import { type Command, Option } from 'commander';
import type { WorkerOptions } from '../../jobs/worker/options.ts';
import type { RunningWorker } from '../../jobs/worker/worker.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';
import { knownStages } from '../stage-names.ts';
import { duration } from '../terminal.ts';
import { collect, names, numberIn, port, positive } from '../values.ts';

const BACKENDS = ['auto', 'native', 'tensorflow', 'webgpu', 'wasm', 'cpu'];

const command: CommandSpec = {
  name: 'worker',
  summary: 'do queued jobs on this machine, until stopped',
  description: `Takes jobs that unfold enqueue has put into the queue: the later stages of a flow first, so that what was begun gets
finished. Each is computed in a child process, while the worker renews its lock and reports progress; what a child leaks
goes with it. Start as many workers on as many machines as you like, as long as all see the same folders, or work on s3://.

Ctrl-C or SIGTERM: jobs in hand write a checkpoint within --deadline and go back to the queue; the next worker goes on
there. The same after a crash, kill -9 or a power cut, once the job's lock is over (--lock-seconds). A job that fails by a
wrong setting is not tried again; one that lost its process is, and goes on where it was.

Whoever may write to the queue's Redis may have it read any file that you may read, and write files below --root; a job
that goes anywhere else is refused before anything is made. Links count as where they lead. Name --root for each place that
jobs may go to: --root . --root /data/runs --root s3://bucket/runs (as in --out, with its ?endpoint= if it has one).

With --drain or --max-jobs it ends by itself, with exit code 1 if a job failed in its hands. --drain waits for delayed jobs
and for those of other workers that its own wait for, but not for what waits for a failed job: that goes on after unfold
jobs retry. A paused queue is waited for.`,
  examples: [
    ['unfold worker --drain', 'do all that is queued, then end'],
    ['unfold worker --queue redis://queue.example:6379 --tags gpu', 'on another machine, with a GPU'],
    ['unfold worker --root . --root s3://my-bucket/runs', 'jobs may write here, and there'],
    ['unfold worker --stages harvest,corpus --concurrency 2', 'harvests only, two at a time'],
    ['unfold worker --port 9464', 'with numbers for Prometheus at http://127.0.0.1:9464/metrics'],
    ['unfold worker --max-jobs 1 --json', 'one job, then one JSON object about it'],
  ],
  modes: {
    of: ({ port }) => (port === undefined ? 'no --port' : '--port'),
    always: [
      ...['--queue', '--concurrency', '--stages', '--tags', '--deadline', '--lock-seconds', '--memory-limit'],
      ...['--scratch', '--drain', '--max-jobs', '--root'],
    ],
    takes: { '--port': ['--port', '--host'], 'no --port': [] },
  },
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    command
      .option('--queue <url>', 'which Redis (default UNFOLD_QUEUE, else the private one of this machine)')
      .option(
        '--concurrency <n>',
        'jobs at a time; one uses all cores',
        numberIn({ whole: true, least: 1, most: 256 }),
        1,
      )
      .option('--stages <names>', 'only these, with commas: train,evaluate (default: all)', names)
      .option('--tags <names>', 'what this machine offers to jobs that ask for it, with commas: gpu', names)
      .option(
        '--deadline <seconds>',
        'time for a checkpoint when it is stopped',
        numberIn({ least: 0, most: 86_400 }),
        60,
      )
      .option(
        '--lock-seconds <seconds>',
        'silence after which a worker counts as lost',
        numberIn({ least: 0.5, most: 86_400 }),
        60,
      )
      .option(
        '--memory-limit <GB>',
        'a child process above it does no further job (default: a quarter of all)',
        numberIn({ least: 0, above: true, most: 1e9 }),
      )
      .option('--scratch <dir>', 'folder for copies of what lies on s3://')
      .option(
        '--root <place>',
        'write below this folder or s3:// URL (repeatable; default: the folder it is started in)',
        collect,
      )
      .option('--drain', 'end when nothing is left that it could do')
      .option('--max-jobs <n>', 'end after so many jobs', positive)
      .option(
        '--port <number>',
        'serve /health, /ready and /metrics (Prometheus) there; 0: any that is free',
        port,
      )
      .option('--host <address>', 'address of that port; 0.0.0.0: all networks', '127.0.0.1')
      .addOption(new Option('--backend <name>', 'where tensors live').choices(BACKENDS).default('auto'));
  },
  async run(_args, options, io) {
    const { startWorker } = await import('../../jobs/worker/worker.ts');
    const settings = workerOptions(options);
    const worker = await startWorker(settings, io.context);
    io.print(
      `worker ${worker.id} on ${worker.backend}, queue ${worker.queue}\n  does ${scope(settings)}\n  writes below ${worker.record().roots?.join(', ')}`,
    );
    const endpoints = await endpointsOf(
      worker,
      options.port as number | undefined,
      String(options.host),
    ).catch(async (error) => {
      await worker.close();
      throw error;
    });
    if (endpoints) io.print(`  metrics  ${endpoints.url}metrics`);
    await worker.closed.finally(() => endpoints?.close());
    const summary = worker.summary();
    io.print(sentence(summary));
    io.emit(summary);
    // Told to stop, it did: no failure, for whoever supervises it. Told to do a number of jobs, it may have failed.
    const toDo = settings.drain || settings.maxJobs !== undefined;
    process.exitCode = toDo && summary.failed > 0 ? 1 : 0;
  },
};

export default command;

function workerOptions(options: Record<string, unknown>): WorkerOptions {
  const { queue, stages, tags, scratch, root, memoryLimit, maxJobs, ...always } = options as {
    queue?: string;
    stages?: string[];
    tags?: string[];
    scratch?: string;
    root?: string[];
    memoryLimit?: number;
    maxJobs?: number;
    concurrency: number;
    deadline: number;
    lockSeconds: number;
  };
  return {
    ...(queue && { queue }),
    ...(scratch && { scratch }),
    ...(root && { roots: root }),
    ...(stages && { stages: knownStages(stages, '--stages') }),
    ...(tags && { tags }),
    ...(memoryLimit && { memoryLimit: 1e9 * memoryLimit }),
    ...(maxJobs && { maxJobs }),
    concurrency: always.concurrency,
    deadlineSeconds: always.deadline,
    lockMilliseconds: 1000 * always.lockSeconds,
    backend: String(options.backend),
    drain: Boolean(options.drain),
  };
}

async function endpointsOf(worker: RunningWorker, port: number | undefined, host: string) {
  if (port === undefined) return undefined;
  const { workerEndpoints } = await import('../../server/worker-endpoints.ts');
  return workerEndpoints(worker, { port, host });
}

function scope({ stages, tags = [], concurrency = 1 }: WorkerOptions): string {
  const what = stages ? stages.join(', ') : 'all stages';
  const where = tags.length > 0 ? `, also jobs for ${tags.join(', ')}` : '';
  return `${what}${where}; ${concurrency === 1 ? 'one job at a time' : `${concurrency} jobs at a time`}`;
}

function sentence(summary: {
  completed: number;
  failed: number;
  retried: number;
  handed_back: number;
  seconds: number;
}): string {
  const { completed, failed, retried, handed_back, seconds } = summary;
  const parts = [
    `${completed} done`,
    failed > 0 && `${failed} failed`,
    retried > 0 && `${retried} to be tried again`,
    handed_back > 0 && `${handed_back} handed back`,
  ].filter(Boolean);
  return `${parts.join(', ')} in ${duration(seconds)}`;
}
