/**
 * @file `unfold enqueue COMMAND …`: the commands that can be jobs, with their own flags and help, and the queue's flags
 * beside them. What the flags mean is decided by the command itself (`job` in cli/command.ts), once.
 */
import { type Command, Option } from 'commander';
import { BEGINS_AGAIN, type CommandIO, type CommandSpec, STAYS_QUEUED } from '../../cli/command.ts';
import encode from '../../cli/commands/encode.ts';
import evaluate from '../../cli/commands/evaluate.ts';
import finetune from '../../cli/commands/finetune.ts';
import harvest from '../../cli/commands/harvest.ts';
import synth from '../../cli/commands/synth.ts';
import train from '../../cli/commands/train.ts';
import { ENQUEUE_FLAGS } from '../../cli/enqueue-options.ts';
import { number, positive } from '../../cli/values.ts';
import { internal } from '../../errors.ts';
import type { JobRequest } from './kind.ts';

/** What `unfold enqueue` adds to a command. */
export interface Enqueuing {
  /** Declares the queue's flags: `--queue`, `--priority`, … */
  configure(command: Command): void;
  /** Queues the request and prints what became of it; `options` are all flags as commander has them. */
  act(request: JobRequest, options: Record<string, unknown>, io: CommandIO): Promise<void>;
}

/** A job of its own that no command does by itself. */
const probe: CommandSpec = {
  name: 'probe',
  summary: 'a job that does nothing, to try out a queue, its workers and their folders',
  description: `Waits, or keeps the processor busy, for some seconds, in steps with a checkpoint after each; a lost one goes on
from there. OUT/starts.log has a line for each start, with process and host; OUT/probe.json says how often it ran to its
end. With --fail it fails half-way as real work may fail: its process is killed, an error of ours, an error that the user
can mend (which is not tried again), or memory left behind.`,
  examples: [
    ['unfold probe --seconds 5 --out runs/probe', 'is there a worker, and does it see this folder?'],
    [
      'unfold probe --seconds 20 --busy --fail crash --failures 1 --out runs/crash',
      'loses its process once half-way, and is finished by the next',
    ],
  ],
  places: { reads: [], writes: '--out' },
  configure(command: Command) {
    command
      .requiredOption('--out <dir>', 'folder that every worker sees')
      .option('--seconds <x>', 'of work', number, 5)
      .option('--steps <n>', 'with a checkpoint after each (default: one a second)', positive)
      .option('--busy', 'compute without pause instead of waiting')
      .option('--tokens <n>', 'tokens that it says it has seen', positive)
      .addOption(new Option('--fail <how>', 'half-way').choices(['crash', 'error', 'user', 'leak']))
      .option('--failures <n>', 'so many starts fail, later ones do not (default: all)', positive)
      .option('--text <text>', 'a line for its log');
  },
  afterStop: BEGINS_AGAIN,
  run: () => internal('a probe is a job only'),
  async job(_args, options) {
    const { probeRequest } = await import('./probe.ts');
    return probeRequest(options);
  },
};

/** Of commands whose own leave no files. */
const OTHER_EXAMPLES: Readonly<Record<string, CommandSpec['examples'][number]>> = {
  evaluate: [
    'unfold enqueue evaluate --coder runs/quickstart/train/run/final --model checkpoints/novels-4l --dataset novels-heldout --max-tokens 20000 --out runs/evaluation.json',
    'the file that unfold evaluate writes, made by a worker; its numbers are the job’s result',
  ],
};

const jobs: readonly CommandSpec[] = [harvest, train, finetune, evaluate, encode, synth, probe];

/** The commands below `unfold enqueue`. */
export function enqueueCommands(enqueuing: Enqueuing): CommandSpec[] {
  return jobs.map((spec) => enqueued(spec, enqueuing));
}

function enqueued(spec: CommandSpec, { configure, act }: Enqueuing): CommandSpec {
  return {
    name: spec.name,
    summary: spec.summary,
    ...(spec.description !== undefined && { description: spec.description }),
    examples: examplesOf(spec),
    // A job leaves files, also where the command by itself does not.
    ...(spec.modes && {
      modes: { ...spec.modes, always: [...spec.modes.always, '--out', ...ENQUEUE_FLAGS] },
    }),
    ...(spec.places && { places: spec.places }),
    afterStop: STAYS_QUEUED,
    configure(command) {
      spec.configure(command);
      command.optionsGroup('Queue:');
      configure(command);
    },
    async run(args, options, io) {
      const request = await spec.job!(args, options);
      const { assertFree } = await import('./direct.ts');
      await assertFree(request);
      await act(request, options, io);
    },
  };
}

/** The command's own that leave files, with what comes before them; a command without such gets one. */
function examplesOf({ name, examples }: CommandSpec): CommandSpec['examples'] {
  const own = examples.filter(([line]) => line.includes(' --out '));
  return own.length > 0
    ? own.map(([line, meaning]) => [line.replace(`unfold ${name} `, `unfold enqueue ${name} `), meaning])
    : [OTHER_EXAMPLES[name] ?? internal(`no example of unfold enqueue ${name}`)];
}
