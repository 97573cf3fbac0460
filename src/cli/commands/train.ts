/** @file `unfold train`: a coder on activation rows, or several in one pass. */
import { type Command, Option } from 'commander';
import { pasteable } from '../../invocation.ts';
import type { SweepFlags, TrainFlags } from '../../train/command.ts';
import type { SweepResult } from '../../train/sweep.ts';
import type { TrainResult } from '../../train/train.ts';
import { type CommandIO, type CommandSpec, GOES_ON } from '../command.ts';
import { addRowOptions, ROW_FLAGS } from '../row-options.ts';
import { addSettingFlags, flagNames, type SettingFlag, settingsOf } from '../setting-flags.ts';
import { addTextOptions, isTextOption, TEXT_FLAGS, textOptions } from '../text-options.ts';
import { collectSettings, positive } from '../values.ts';

/** Flags that are settings of their own; every other setting goes through --set or --config. */
const SETTING_FLAGS: readonly SettingFlag[] = [
  [
    '--architecture <name>',
    'topk (default), batchtopk, matryoshka_batchtopk, groupmax, abstopk, matching_pursuit, standard, jumprelu, gated, transcoder, skip_transcoder, clt or crosscoder',
  ],
  ['--hook-name <name>', 'hook whose rows are coded (default: the only one in the shards)'],
  ['--hook-name-out <name>', 'transcoders: hook that is predicted'],
  ['--hook-names <names>', 'crosscoders, cross-layer transcoders: hooks that are read, a,b,c'],
  ['--hook-names-out <names>', 'cross-layer transcoders: hooks that are predicted, one for each input'],
  ['--d-sae <n>', 'number of latents (default: 16 for each dimension)'],
  ['--k <x>', 'topk and its kin: active latents a row (default 100)'],
  ['--target-l0 <x or null>', 'standard, jumprelu, gated: mean number of active latents a row to end at'],
  ['--l1-coefficient <x>', 'standard: weight of the sparsity penalty (default 1)'],
  ['--training-tokens <n>', 'rows to train on, several epochs if need be (default 2000000)'],
  ['--train-batch-size-tokens <n>', 'rows a step (default 4096)'],
  ['--lr <x>', 'learning rate (default 3e-4)'],
  ['--lr-scheduler-name <name>', 'constant (default), cosineannealing or cosineannealingwarmrestarts'],
  ['--lr-warm-up-steps <n or %>', 'linear warm-up (default 0)'],
  ['--lr-decay-steps <n or %>', 'linear decay to 0 at the end (default 20%)'],
  [
    '--normalize-activations <how>',
    'expected_average_only_in (default), none, constant_norm_rescale or layer_norm',
  ],
  [
    '--dead-feature-window <tokens>',
    'a latent is dead after so many tokens without firing (default: a twentieth of the run)',
  ],
  ['--checkpoint-every-minutes <x or null>', 'checkpoints to resume from (default 5)'],
  ['--seed <n or 0>', 'seed of the weights (default 42)'],
  ['--data-seed <n or 0>', 'seed of the order of rows (default: the same)'],
];

const command: CommandSpec = {
  name: 'train',
  summary: 'train a sparse autoencoder on harvested rows, or on a live model',
  description: `Trains a coder on activation rows: shards that unfold harvest wrote (or a Hugging Face datasets folder of activations),
or, with --model, --dataset and --hook-name, rows that the model makes beside the training.

Settings have SAELens's names. Those without a flag are set with --set NAME=VALUE or in the YAML file of --config; flags go
on top. The run directory holds config.json, metrics.jsonl, checkpoints/ and, at the end, final/ in SAELens's layout.
Stop it with Ctrl-C or kill it: the same command goes on and ends with the same weights, to the last bit.

--sweep FILE trains several coders in one pass over the same rows. The file holds shared settings, coders: {NAME: {settings}}
and/or grid: {SETTING: [values]}; flags are shared settings, too. OUT/NAME is what a run of its own would have written. The
coders share data_seed, training_tokens, train_batch_size_tokens and shuffle_buffer_rows, and may differ in everything else.
One that diverges stops, the others go on, and the exit code is 1. A word in braces stands for a value of the grid: hook_name:
blocks.{layer}.ln2.hook_normalized with grid: {layer: [0, 1, 2, 3]} makes a transcoder of every layer.`,
  examples: [
    [
      'unfold train --shards datasets/resid2 --d-sae 1024 --k 16 --training-tokens 200000 --train-batch-size-tokens 1024 --lr 4e-3 --out runs/resid2',
      'a small TopK coder on the shards of the example of unfold harvest',
    ],
    [
      'unfold train --model checkpoints/novels-4l --dataset novels --max-tokens 200000 --hook-name blocks.2.hook_resid_pre --d-sae 1024 --k 16 --training-tokens 200000 --out runs/live',
      'the same rows without a disk',
    ],
    [
      'unfold train --shards datasets/resid2 --architecture standard --l1-coefficient 2 --set l1_warm_up_steps=10% --out runs/standard',
      'relu and L1 instead; a setting without a flag',
    ],
    [
      'unfold train --shards datasets/resid2 --sweep pipelines/sweeps/k.yaml --out runs/sweep',
      'four coders in one pass over the same rows: runs/sweep/k8, k16, k32 and relu',
    ],
  ],
  afterStop: ({ resume }) =>
    resume === 'never' ? 'without --resume never the same command goes on where it was' : GOES_ON,
  usesBackend: true,
  modes: {
    of: ({ shards, model }) =>
      (shards === undefined) === (model === undefined) ? undefined : shards ? '--shards' : '--model',
    always: ['--out', '--config', '--sweep', '--set', '--resume', ...flagNames(SETTING_FLAGS)],
    takes: {
      '--shards': ['--shards'],
      '--model': ['--model', '--dataset', '--max-tokens', '--context-size', ...ROW_FLAGS, ...TEXT_FLAGS],
    },
  },
  places: { reads: ['--shards', '--model', '--dataset', '--config', '--sweep'], writes: '--out' },
  configure(command: Command) {
    command
      .option('--shards <dir>', 'rows from a folder of shards')
      .option('--model <dir or id>', 'rows from a model instead: folder or hub id of a GPT-2')
      .option('--dataset <path or name>', 'text for the model')
      .option('--max-tokens <n>', 'tokens of the text to use', positive)
      .option('--context-size <n>', 'tokens in a context (default 128)', positive)
      .requiredOption('--out <dir>', 'run directory')
      .option('--config <file>', 'YAML or JSON with settings')
      .option('--sweep <file>', 'YAML or JSON with settings and coders: several in one pass')
      .option('--set <name=value>', 'any setting; may be repeated', collectSettings, {})
      .addOption(
        new Option('--resume <when>', 'auto: go on if the run was begun; never: refuse then')
          .choices(['auto', 'never'])
          .default('auto'),
      );
    addRowOptions(command);
    addTextOptions(command);
    addSettingFlags(command, SETTING_FLAGS);
  },
  async run(_args, options, io) {
    const { runSweep, runTraining } = await import('../../train/command.ts');
    const flags = await flagsOf(options);
    if ('sweep' in flags) return printSweep(await runSweep(flags, io.context), io);
    const result = await runTraining(flags, io.context);
    const { dir, coderDir, weightsHash, skipped, metrics, settings: resolved } = result;
    io.emit({ ...metrics, dir, coder: coderDir, weights_sha256: weightsHash, skipped, settings: resolved });
    await print(result, io);
  },
  async job(_args, options) {
    const { trainRequest } = await import('../../jobs/kinds/train.ts');
    return trainRequest(await flagsOf(options));
  },
};

export default command;

/** Flags over --config, and over the file of --sweep. */
async function flagsOf(options: Record<string, unknown>): Promise<TrainFlags | SweepFlags> {
  const { readSettings } = await import('../../harvest/config-file.ts');
  const read = async (path: unknown) => (typeof path === 'string' ? readSettings(path) : {});
  const settings = {
    ...(await read(options.config)),
    ...(options.set as object),
    ...settingsOf(SETTING_FLAGS, options),
  };
  const { sweep: file, ...all } = options;
  const rest = {
    ...Object.fromEntries(Object.entries(all).filter(([key]) => !isTextOption(key))),
    text: textOptions(options),
  };
  const out = String(options.out);
  if (file === undefined) return { ...rest, out, settings };
  const { resolvePath, searchPlaces } = await import('../../pipeline/paths.ts');
  return { ...rest, out, sweep: { ...(await read(resolvePath(String(file), searchPlaces()))), ...settings } };
}

/** Architectures that SAELens has no class for. */
const OWN_LAYOUT = ['clt', 'crosscoder'];

/** One row a coder; the exit code says whether all came to their ends. */
async function printSweep({ dir, coders, failures }: SweepResult, io: CommandIO): Promise<void> {
  const { textTable } = await import('../../table.ts');
  const { sweepJson } = await import('../../train/sweep.ts');
  io.emit(sweepJson({ dir, coders, failures }));
  const rows = Object.entries(coders).map(([name, { settings, latents, metrics, skipped }]) => [
    name,
    settings.architecture,
    metrics.explained_variance.toFixed(4),
    (metrics.exported_l0 ?? metrics.l0).toFixed(2),
    `${metrics.dead_latents}/${latents}`,
    metrics.loss.toPrecision(4),
    skipped ? 'finished before' : 'trained',
  ]);
  for (const name of Object.keys(failures)) rows.push([name, '', '', '', '', '', 'diverged']);
  io.print(textTable(['coder', 'architecture', 'EV', 'L0', 'dead', 'loss', ''], rows));
  for (const { message } of Object.values(failures)) io.print(message);
  io.print(`in ${dir}/NAME/final, listed in ${dir}/sweep.json`);
  const [first] = Object.values(coders);
  if (first) {
    io.print(
      `next: ${pasteable(`unfold evaluate --coder ${first.coderDir} --model MODEL --dataset DATASET`)}`,
    );
  }
  if (Object.keys(failures).length > 0) process.exitCode = 1;
}

async function print(
  { coderDir, metrics, latents, settings, skipped }: TrainResult,
  io: CommandIO,
): Promise<void> {
  const { textTable } = await import('../../table.ts');
  const rows = [
    ['tokens', metrics.tokens.toLocaleString('en')],
    ['explained variance', metrics.explained_variance.toFixed(4)],
    ['L0', metrics.l0.toFixed(2)],
    ...(metrics.exported_l0 === undefined ? [] : [['L0 as exported', metrics.exported_l0.toFixed(2)]]),
    ['dead latents', `${metrics.dead_latents} of ${latents}`],
    ['loss', metrics.loss.toPrecision(5)],
  ];
  io.print(textTable(['metric', 'last window'], rows));
  const elsewhere = OWN_LAYOUT.includes(settings.architecture) ? '' : ' (SAELens: SAE.load_from_disk)';
  io.print(`${skipped ? 'finished before' : 'trained'}: ${coderDir}${elsewhere}`);
  io.print(`next: ${pasteable(`unfold evaluate --coder ${coderDir} --model MODEL --dataset DATASET`)}`);
}
