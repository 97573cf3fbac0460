/** @file `unfold synth`: coders against features that are known. */
import { type Command, Option } from 'commander';
import { UnfoldError } from '../../errors.ts';
import type { SynthFlags } from '../../jobs/kinds/synth.ts';
import type { SynthCoderResult, SynthResult } from '../../synth/synth.ts';
import type { ToyOptions } from '../../synth/toy.ts';
import { addCoderOptions, CODER_FLAGS, coderOptions } from '../coder-options.ts';
import { BEGINS_AGAIN, type CommandIO, type CommandSpec, GOES_ON } from '../command.ts';
import { positive, probabilities, seeds } from '../values.ts';

const command: CommandSpec = {
  name: 'synth',
  summary: 'train coders on synthetic rows whose features are known, and measure what they find',
  description: `A synthetic model makes rows of known features that fire rarely, in trees and together, in fewer dimensions than there
are features (SynthSAEBench, arXiv 2602.14687; settings as in SAELens's SyntheticModelConfig). Every coder of FILE is
trained on the same rows in one pass, once for each seed, and judged by how well its latents detect the features (F1),
how well its decoder matches their directions (MCC, uniqueness), and how well it reconstructs.

FILE is YAML: model (a preset or settings), seeds, evaluation_samples, and train, which is a sweep as unfold train --sweep
takes it. Running the same command again goes on where it stopped.

--coder judges a coder that exists, in any layout that unfold import knows, on the model of FILE; nothing is trained or
written. The model is drawn here from its settings: a coder of another program's model of the same name saw other features.

--toy draws superposition itself: a toy model packs features into two dimensions, at several sparsities.`,
  examples: [
    [
      'unfold synth pipelines/synth-smoke.yaml --out runs/smoke',
      '16 orthogonal features, a few seconds: a sound coder finds all',
    ],
    [
      'unfold synth pipelines/synth-1k.yaml --out runs/synth',
      '1,024 features in 128 dimensions, five architectures: some minutes',
    ],
    [
      'unfold synth pipelines/synth-smoke.yaml --coder runs/smoke/coders/topk-seed1',
      'a coder that exists: the same numbers, without training',
    ],
    ['unfold synth --toy --out runs/toy', 'a picture of five features in two dimensions, and its numbers'],
  ],
  afterStop: ({ coder, toy }) => (coder === undefined && toy !== true ? GOES_ON : BEGINS_AGAIN),
  usesBackend: true,
  modes: {
    of: ({ toy, coder }) => (toy ? '--toy' : coder === undefined ? 'a benchmark file' : '--coder'),
    always: [],
    takes: {
      '--toy': ['--toy', '--out', '--features', '--probabilities'],
      '--coder': ['--coder', '--samples', ...CODER_FLAGS],
      'a benchmark file': ['--out', '--seeds', '--training-tokens', '--samples'],
    },
  },
  places: { reads: ['[file]', '--coder'], writes: '--out' },
  configure(command: Command) {
    command
      .argument('[file]', 'benchmark file')
      .option('--out <dir>', 'folder of runs and results')
      .option('--coder <path>', 'evaluate this coder on the model of FILE instead of training')
      .option('--seeds <list>', 'training seeds, instead of those of the file: 1,2,3', seeds)
      .option('--training-tokens <n>', 'rows to train on, instead of those of the file', positive)
      .option('--samples <n>', 'rows to evaluate on', positive)
      .addOption(new Option('--toy', 'the toy model of superposition instead'))
      .option('--features <n>', '--toy: features', positive, 5)
      .option(
        '--probabilities <list>',
        '--toy: how often each feature fires',
        probabilities,
        [1, 0.3, 0.1, 0.03],
      );
    addCoderOptions(command);
  },
  async run(args, options, io) {
    const wanted = await flagsOf(args, options);
    if (wanted.what === 'toy') return toy(wanted, io);
    const { synth, synthCoder } = await import('../../synth/synth.ts');
    if (wanted.what === 'coder') {
      const judged = await synthCoder(wanted, io.context);
      io.emit(judged);
      return printCoder(judged, io);
    }
    const result = await synth(wanted, io.context);
    io.emit(result);
    await print(result, io);
  },
  async job(args, options) {
    const { synthRequest } = await import('../../jobs/kinds/synth.ts');
    return synthRequest(await flagsOf(args, options));
  },
};

export default command;

/** What is asked for: flags over the benchmark's file. */
async function flagsOf([file]: string[], options: Record<string, unknown>): Promise<SynthFlags> {
  if (options.toy === true) {
    if (file !== undefined || options.coder !== undefined) throw notBoth(file ?? '--coder');
    const { features, probabilities } = options as unknown as Omit<ToyOptions, 'out'>;
    return { what: 'toy', out: folder(options), features, probabilities };
  }
  const { readSettings } = await import('../../harvest/config-file.ts');
  if (file === undefined) {
    throw new UnfoldError('bad-setting', {
      where: 'unfold synth',
      expected: 'a benchmark file, or --toy',
      found: 'neither',
      todo: 'unfold synth pipelines/synth-smoke.yaml --out runs/smoke',
    });
  }
  // As unfold run: what is bundled is found from anywhere.
  const { resolvePath, searchPlaces } = await import('../../pipeline/paths.ts');
  const written = await readSettings(resolvePath(file, searchPlaces()));
  const evaluated = {
    ...written,
    ...(options.samples !== undefined && { evaluation_samples: options.samples }),
  };
  // The library checks what the file says.
  if (typeof options.coder === 'string') {
    const given = { ...coderOptions(options), coder: options.coder, settings: evaluated as never };
    return { what: 'coder', out: options.out as string | undefined, ...given };
  }
  const settings = {
    ...evaluated,
    ...(options.seeds !== undefined && { seeds: options.seeds }),
    ...(options.trainingTokens !== undefined && {
      train: { ...(written.train as object), training_tokens: options.trainingTokens },
    }),
  };
  return { what: 'benchmark', out: folder(options), settings: settings as never };
}

function notBoth(other: string): UnfoldError {
  return new UnfoldError('bad-setting', {
    where: 'unfold synth --toy',
    expected: 'the toy model alone, which has no benchmark file and no coder',
    found: other,
    todo: `leave out --toy, or ${other}`,
  });
}

const COLUMNS = ['f1', 'mcc', 'uniqueness', 'explained_variance', 'l0', 'dead_latents'] as const;

async function print({ coders, dir }: SynthResult, io: CommandIO): Promise<void> {
  const { textTable } = await import('../../table.ts');
  const cell = (mean: number, std: number, many: boolean) =>
    many ? `${mean.toFixed(3)} ± ${std.toFixed(3)}` : mean.toFixed(3);
  const rows = coders.map(({ coder, mean, std, seeds }) => [
    coder,
    ...COLUMNS.map((name) => cell(mean[name], std[name], Object.keys(seeds).length > 1)),
  ]);
  io.print(textTable(['coder', 'F1', 'MCC', 'unique', 'EV', 'L0', 'dead'], rows));
  io.print(
    `features fire ${coders[0]?.mean.true_l0.toFixed(1)} a row; ${dir}/synth.json has every seed and what the numbers mean`,
  );
}

async function printCoder({ coder, evaluation }: SynthCoderResult, io: CommandIO): Promise<void> {
  const { textTable } = await import('../../table.ts');
  const row = [coder, ...COLUMNS.map((name) => evaluation[name].toFixed(3))];
  io.print(textTable(['coder', 'F1', 'MCC', 'unique', 'EV', 'L0', 'dead'], [row]));
  io.print(`features fire ${evaluation.true_l0.toFixed(1)} a row; ${evaluation.samples} rows`);
}

/** --out, which only --coder does without. */
function folder({ out }: Record<string, unknown>): string {
  if (typeof out === 'string') return out;
  throw new UnfoldError('bad-setting', {
    where: 'unfold synth',
    expected: '--out, a folder of runs and results',
    found: 'none',
    todo: 'add --out runs/synth, or --coder to judge a coder that exists',
  });
}

async function toy(options: ToyOptions, io: CommandIO): Promise<void> {
  const { runToy } = await import('../../synth/toy.ts');
  const { textTable } = await import('../../table.ts');
  const result = await runToy(options, io.context);
  io.emit(result);
  const rows = result.models.map(({ probability, features_per_dimension, loss }) => [
    String(probability),
    features_per_dimension.toFixed(2),
    loss.toPrecision(3),
  ]);
  io.print(textTable(['fires in', 'features a dimension', 'loss'], rows));
  io.print(`picture: ${result.picture}`);
}
