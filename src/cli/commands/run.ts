/** @file `unfold run`: the whole flow of a pipeline file, resumable. */
import type { Command } from 'commander';
import pc from 'picocolors';
import type { StagePlan } from '../../pipeline/run-stages.ts';
import { type CommandSpec, GOES_ON } from '../command.ts';
import { collect } from '../values.ts';

const command: CommandSpec = {
  name: 'run',
  summary: 'run a whole pipeline: text in, trained and evaluated coder and a report out',
  description: `Runs the stages of a pipeline file (corpus, harvest, train, evaluate, summary), each once: what is finished is
skipped, what was stopped or killed goes on, and after a change of settings only what depends on them is made again.
PIPELINE is a YAML file, or the name of a bundled one (quickstart, gpt2-small-resid8).

Paths in it are looked for in the current directory, beside the file, and in the Unfold package, in this order.`,
  examples: [
    [
      'unfold run pipelines/quickstart.yaml',
      'the bundled model on the bundled novels, about two minutes; output in runs/quickstart',
    ],
    ['unfold run quickstart --dry-run', 'what would be done, and what is finished'],
    ['unfold run quickstart --set train.k=32 --out runs/k32', 'another setting, another directory'],
    [
      'unfold run quickstart --from evaluate --json',
      'evaluate and summarise again; one JSON object on stdout',
    ],
  ],
  afterStop: ({ from }) =>
    from === undefined
      ? GOES_ON
      : `without --from the same command goes on where it was; with it, ${from} and what depends on it are made again`,
  usesBackend: true,
  places: { reads: ['<pipeline>'], writes: '--out' },
  configure(command: Command) {
    command
      .argument('<pipeline>', 'a pipeline file, or the name of a bundled one')
      .option('--out <dir>', 'run directory (default runs/NAME)')
      .option(
        '--set <path=value>',
        'a setting in place of the file’s, e.g. train.lr=1e-3 (repeatable)',
        collect,
      )
      .option('--from <stage>', 'make this stage and those that depend on it again')
      .option('--dry-run', 'say what would be done and stop');
  },
  async run([pipeline = ''], options, io) {
    const { planPipeline, pipelineJson, runPipeline } = await import('../../pipeline/pipeline.ts');
    const { out, set, from } = options as { out?: string; set?: string[]; from?: string };
    if (options.dryRun) {
      const plans = await planPipeline(pipeline, { out, set, from });
      io.print(plans.map(planLine).join('\n'));
      io.emit({ stages: plans.map(({ name, key, dir, state }) => ({ name, key, dir, state })) });
      return;
    }
    const result = await runPipeline(pipeline, { out, set, from }, io.context);
    if (io.json) return io.emit(pipelineJson(result));
    const { renderTerminal } = await import('../../summary/render.ts');
    const { renderSweepTerminal } = await import('../../summary/sweep.ts');
    const { summary } = result;
    io.print(`\n${'features' in summary ? renderTerminal(summary) : renderSweepTerminal(summary)}\n`);
    const took = result.stages.map(
      ({ name, seconds, skipped }) => `${name} ${skipped ? 'skipped' : `${seconds.toFixed(1)} s`}`,
    );
    io.print(pc.dim(`${result.seconds.toFixed(1)} s (${took.join(', ')}); everything is in ${result.out}`));
  },
};

export default command;

function planLine({ name, state, dir, seconds }: StagePlan): string {
  const what = {
    finished: `finished (${seconds?.toFixed(1)} s), will be skipped`,
    started: 'begun, will go on',
    new: 'to do',
  };
  return `${pc.bold(name.padEnd(10))} ${what[state].padEnd(36)} ${pc.dim(dir)}`;
}
