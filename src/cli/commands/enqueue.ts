/** @file `unfold enqueue`: a pipeline, or a command below it, as jobs for workers. */
import type { Command } from 'commander';
import pc from 'picocolors';
import { pasteable } from '../../invocation.ts';
import type { JobTree } from '../../jobs/flow.ts';
import { enqueueCommands } from '../../jobs/kinds/from-command.ts';
import { textTable } from '../../table.ts';
import { type CommandIO, type CommandSpec, STAYS_QUEUED } from '../command.ts';
import { addOptionsOf, ENQUEUE_FLAGS, enqueueOptions } from '../enqueue-options.ts';
import { collect, numberIn } from '../values.ts';

const command: CommandSpec = {
  name: 'enqueue',
  summary: 'queue a pipeline, or one command, for workers on this machine or on others',
  description: `Makes jobs of a pipeline's stages (see unfold run) and puts them into the queue; unfold worker does them. A harvest is
shared out by ranges of shards, a sweep and its evaluation by coders, so that many workers are at it at once; each stage
waits for those it reads. The files are those of unfold run, byte for byte.

The same work queued twice is one flow and runs once. Every machine has to see --out and what the pipeline names under the
same paths, or --out is an s3:// URL. A lost worker's job is tried again and goes on from its last checkpoint.`,
  examples: [
    ['unfold enqueue quickstart --out runs/queued', 'the bundled pipeline; start workers with unfold worker'],
    ['unfold enqueue quickstart --out runs/queued --dry-run', 'which jobs these would be'],
    [
      'unfold enqueue quickstart --set train.k=32 --tag train=gpu --delay 8h --out runs/k32',
      'training by workers with --tags gpu only, beginning in eight hours',
    ],
    ['unfold enqueue probe --seconds 2 --out runs/probe', 'one command as one job'],
  ],
  afterStop: STAYS_QUEUED,
  subcommands: enqueueCommands({ configure: enqueueOptions, act: enqueueOne }),
  modes: {
    of: ({ dryRun }) => (dryRun ? '--dry-run' : 'jobs that are queued'),
    always: ['--out', '--set', '--tag', '--parts'],
    takes: {
      '--dry-run': ['--dry-run'],
      'jobs that are queued': ENQUEUE_FLAGS.filter((flag) => flag !== '--tag'),
    },
  },
  places: { reads: ['<pipeline>'], writes: '--out' },
  configure(command: Command) {
    command
      .argument('<pipeline>', 'a pipeline file, the name of a bundled one, or a command below')
      .option('--out <place>', 'run directory that every worker sees, or s3:// URL (default runs/NAME)')
      .option(
        '--set <path=value>',
        'a setting in place of the file’s, e.g. train.lr=1e-3 (repeatable)',
        collect,
      )
      .option(
        '--parts <n>',
        'into how many parts a stage may be split (default 16)',
        numberIn({ whole: true, least: 1, most: 4096 }),
      )
      .option('--dry-run', 'print the jobs and stop; no queue is needed');
    enqueueOptions(command);
  },
  async run([pipeline = ''], options, io) {
    const { assertQueueable } = await import('../enqueue-names.ts');
    assertQueueable(pipeline);
    const { pipelineFlow } = await import('../../jobs/flow.ts');
    const { out, set, tag, parts } = options as {
      out?: string;
      set?: string[];
      tag?: string[];
      parts?: number;
    };
    const tree = await pipelineFlow(pipeline, {
      out,
      set,
      tags: tag,
      ...(parts !== undefined && { parts }),
    });
    if (options.dryRun) return dryRun(tree, io);
    await enqueueTree(tree, options, io);
  },
};

export default command;

async function enqueueOne(
  ...[request, options, io]: Parameters<Parameters<typeof enqueueCommands>[0]['act']>
) {
  const { directMessage, notThereYet } = await import('../../jobs/kinds/direct.ts');
  const missing = await notThereYet(request);
  if (missing !== undefined)
    io.context.warn(
      `${missing} is not there yet: the job fails unless it is once a worker begins (the stages of a pipeline wait for one another)`,
    );
  await enqueueTree(
    { message: directMessage(request, options.tag as string[] | undefined), children: [] },
    options,
    io,
  );
}

async function enqueueTree(tree: JobTree, options: Record<string, unknown>, io: CommandIO): Promise<void> {
  const { openQueue } = await import('../../jobs/redis/open.ts');
  const { queueTree } = await import('../enqueue-tree.ts');
  const add = addOptionsOf(options);
  const connection = await openQueue(options.queue as string | undefined, io.context);
  try {
    await queueTree(
      tree,
      { ...add, wait: Boolean(options.wait), url: options.queue as string | undefined },
      connection,
      io,
    );
  } finally {
    await connection.close();
  }
}

async function dryRun(tree: JobTree, io: CommandIO): Promise<void> {
  const { messagesOf } = await import('../../jobs/flow.ts');
  const { hasFiles } = await import('../../jobs/on-disk.ts');
  const { jobId } = await import('../../jobs/message.ts');
  const { queueName } = await import('../../jobs/names.ts');
  const rows = [];
  for (const message of messagesOf(tree).reverse()) {
    const finished = message.type === 'stage' && (await hasFiles(message));
    rows.push({ id: jobId(message), queue: queueName(message.stage, message.tags), finished });
  }
  const { flow, out } = tree.message;
  const shown = rows.map(({ id, queue, finished }) => [id, queue, finished ? pc.dim('finished') : 'to do']);
  io.print(
    `${textTable(['job', 'queue', ''], shown)}\n${pc.dim(`into ${out}; ${pasteable('unfold enqueue …')} without --dry-run queues them`)}`,
  );
  io.emit({ flow, out, jobs: rows });
}
