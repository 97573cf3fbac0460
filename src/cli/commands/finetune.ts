/** @file `unfold finetune`: a trained coder, trained on through its model. */
import { type Command, Option } from 'commander';
import type { FinetuneOptions, FinetuneResult } from '../../finetune/finetune.ts';
import { pasteable } from '../../invocation.ts';
import { addCoderOptions, CODER_FLAGS, coderOptions } from '../coder-options.ts';
import { type CommandIO, type CommandSpec, GOES_ON } from '../command.ts';
import { addSettingFlags, flagNames, type SettingFlag, settingsOf } from '../setting-flags.ts';
import { addTextOptions, TEXT_FLAGS, textOptions } from '../text-options.ts';
import { collectSettings, ids, positive } from '../values.ts';

/** The loss is a choice among names, which commander checks. */
const LOSS_FLAG: SettingFlag = ['--loss <name>', ''];

/** Flags that are settings of their own; every other setting goes through --set or --config. */
const SETTING_FLAGS: readonly SettingFlag[] = [
  ['--mse-coefficient <x>', 'weight of the squared error beside it, in the units of training (default 0)'],
  [
    '--loss-coefficient <x>',
    'weight of the loss (default: such that KL weighs as much as the squared error did)',
  ],
  ['--training-tokens <n>', 'tokens to train on, several epochs if need be (default 200000)'],
  ['--train-batch-size-tokens <n>', 'tokens a step, in whole contexts (default 2048)'],
  ['--lr <x>', 'learning rate (default 3e-4)'],
  ['--lr-warm-up-steps <n or %>', 'linear warm-up (default 5%)'],
  ['--lr-decay-steps <n or %>', 'linear decay to 0 at the end (default 50%)'],
  [
    '--target-l0 <x or null>',
    'standard, jumprelu, gated: L0 to end at (default: as it is; null: leave it to the coefficient)',
  ],
  ['--eval-tokens <n or 0>', 'tokens kept apart, to evaluate on before and after; 0: do not (default 16384)'],
  ['--checkpoint-every-minutes <x or null>', 'checkpoints to resume from (default 5)'],
  ['--seed <n or 0>', 'seed of the order of contexts (default 42)'],
];

const command: CommandSpec = {
  name: 'finetune',
  summary: 'train a coder on through its model: KL divergence or cross-entropy, end to end',
  description: `Splices a trained coder into the model at its hook and trains it on what the model makes of it: the KL divergence of the
spliced model's predictions from the model's own, or the spliced model's next-token loss. The model does not change. The
coder's sparsity goes on to come from where it came from: k of a TopK coder, a penalty (whose coefficient is steered so that
L0 stays what it is) for standard, gated and JumpReLU. Coders trained as BatchTopK or Matryoshka are exported as JumpReLU,
and go on as JumpReLU: each latent's threshold learns from then on.

Takes a coder in any layout: sparse autoencoders and transcoders (which replace the hook they write). Settings have the
names they have in unfold train and are given by flags, --set NAME=VALUE or the YAML file of --config. Stop it with Ctrl-C:
the same command goes on. The result is in final/, in SAELens's layout; its cfg.json says what it was made from.`,
  examples: [
    [
      'unfold finetune --coder runs/quickstart/train/run/final --model checkpoints/novels-4l --dataset novels --training-tokens 200000 --out runs/finetuned',
      "the quickstart's coder, by KL divergence",
    ],
    [
      'unfold finetune --coder runs/quickstart/train/run/final --model checkpoints/novels-4l --dataset novels --mse-coefficient 1 --lr 1e-3 --training-tokens 200000 --out runs/finetuned-mse',
      'the squared error beside it, with equal weight: nearly the same divergence, and the reconstruction is kept',
    ],
  ],
  afterStop: GOES_ON,
  usesBackend: true,
  modes: {
    of: ({ dataset, tokens }) =>
      (dataset === undefined) === (tokens === undefined) ? undefined : dataset ? '--dataset' : '--tokens',
    always: [
      ...CODER_FLAGS,
      ...[
        '--coder',
        '--model',
        '--out',
        '--hook-name',
        '--hook-name-out',
        '--all-tokens',
        '--exclude-tokens',
      ],
      ...['--config', '--set', ...flagNames([LOSS_FLAG, ...SETTING_FLAGS])],
    ],
    takes: {
      '--dataset': ['--dataset', '--max-tokens', '--context-size', ...TEXT_FLAGS],
      '--tokens': ['--tokens'],
    },
  },
  places: { reads: ['--coder', '--model', '--dataset', '--tokens', '--config'], writes: '--out' },
  configure(command: Command) {
    addCoderOptions(command);
    command
      .requiredOption(
        '--coder <dir>',
        'the coder: a run of unfold train, or any layout that unfold import knows',
      )
      .requiredOption('--model <dir or id>', 'the GPT-2 it reads: folder or hub id')
      .requiredOption('--out <dir>', 'run directory')
      .option(
        '--dataset <path or name>',
        'text: a file, folder, glob, or a folder in datasets/ with a manifest',
      )
      .option('--tokens <file>', 'token ids instead of text: [[id, id, …], …], used as they are')
      .option('--max-tokens <n>', 'tokens of the dataset to use (default: what the run needs)', positive)
      .option('--context-size <n>', "tokens in a context (default: the coder's, else 128)", positive)
      .addOption(
        new Option('--loss <name>', 'KL(model || spliced model), or cross-entropy (default kl)').choices([
          'kl',
          'ce',
        ]),
      )
      .option('--hook-name <name>', "hook the coder reads (default: its cfg.json's)")
      .option('--hook-name-out <name>', 'hook it writes (transcoders)')
      .option('--all-tokens', 'splice at every position, special tokens included')
      .option(
        '--exclude-tokens <ids>',
        'leave out positions with these input tokens, separated by commas',
        ids,
      )
      .option('--config <file>', 'YAML or JSON with settings')
      .option('--set <name=value>', 'any setting; may be repeated', collectSettings, {});
    addSettingFlags(command, SETTING_FLAGS);
    addTextOptions(command, "the coder's");
  },
  async run(_args, options, io) {
    const { finetune } = await import('../../finetune/finetune.ts');
    const given = await optionsOf(options);
    const result = await finetune(given, io.context);
    const { metrics, before, after, dir, coderDir, weightsHash, skipped } = result;
    io.emit({
      ...metrics,
      before,
      after,
      dir,
      coder: coderDir,
      weights_sha256: weightsHash,
      skipped,
      settings: result.settings,
    });
    await print(result, { model: given.model, dataset: given.dataset ?? 'DATASET' }, io);
  },
  async job(_args, options) {
    const { finetuneRequest } = await import('../../jobs/kinds/finetune.ts');
    return finetuneRequest(await optionsOf(options));
  },
};

export default command;

/** Flags over the file of --config. */
async function optionsOf(options: Record<string, unknown>): Promise<FinetuneOptions> {
  const { readSettings } = await import('../../harvest/config-file.ts');
  const config = typeof options.config === 'string' ? await readSettings(options.config) : {};
  const settings = {
    ...config,
    ...(options.set as object),
    ...settingsOf([LOSS_FLAG, ...SETTING_FLAGS], options),
  };
  const { coder, model, out, dataset, tokens } = options as Record<string, string>;
  return {
    ...coderOptions(options),
    coder: coder!,
    model: model!,
    out: out!,
    dataset,
    tokens,
    max_tokens: options.maxTokens as number | undefined,
    context_size: options.contextSize as number | undefined,
    hook_name: options.hookName as string | undefined,
    hook_name_out: options.hookNameOut as string | undefined,
    all_tokens: options.allTokens as boolean | undefined,
    exclude_tokens: options.excludeTokens as number[] | undefined,
    text: textOptions(options),
    settings,
  };
}

/** What is said about before and after. */
const SHOWN = [
  'kl_div_with_sae',
  'ce_loss_with_sae',
  'ce_loss_without_sae',
  'ce_loss_score',
  'explained_variance',
  'l0',
] as const;

async function print(
  { before, after, metrics, coderDir, skipped }: FinetuneResult,
  { model, dataset }: { model: string; dataset: string },
  io: CommandIO,
): Promise<void> {
  const { textTable } = await import('../../table.ts');
  const digits = (x: number | undefined) => (x === undefined ? '' : x.toPrecision(5));
  if (before && after) {
    const rows = SHOWN.map((name) => [name, digits(before[name]), digits(after[name])]);
    io.print(textTable(['metric (held-out tokens)', 'before', 'after'], rows));
  } else {
    const rows = (['kl_div_with_sae', 'ce_loss_with_sae', 'explained_variance', 'l0'] as const).map(
      (name) => [name, digits(metrics[name])],
    );
    io.print(textTable(['metric', 'last window'], rows));
  }
  io.print(`${skipped ? 'finished before' : 'fine-tuned'}: ${coderDir} (SAELens: SAE.load_from_disk)`);
  io.print(`next: ${pasteable(`unfold evaluate --coder ${coderDir} --model ${model} --dataset ${dataset}`)}`);
}
