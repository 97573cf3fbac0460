/** @file `unfold harvest`: text through a model, activations at hook points into Arrow shards. */
import { type Command, Option } from 'commander';
import type { HarvestOptions, HarvestResult } from '../../harvest/harvest.ts';
import type { CommandIO, CommandSpec } from '../command.ts';
import { addRowOptions } from '../row-options.ts';
import { addTextOptions, textOptions } from '../text-options.ts';
import { names, natural, positive } from '../values.ts';

const command: CommandSpec = {
  name: 'harvest',
  summary: 'run text through a model and store activations at hook points as Arrow shards',
  description: `Runs a model over a text dataset and stores its activations at one or several hook points (one forward pass
for all) as Arrow shards: a Hugging Face datasets folder, one row per token, with a manifest.

Finished shards are skipped, so the same command goes on where it was stopped or killed, and does nothing when all is
done. Prints rows, shards and disk space before it starts. Cost: 4 bytes (float16: 2) times the hook's width per token.

A file for --config: {model: checkpoints/novels-4l, text: {dataset: novels, max_tokens: 200000}, hook_names:
[blocks.2.hook_resid_pre], dtype: float16}.`,
  examples: [
    [
      'unfold harvest --model checkpoints/novels-4l --dataset novels --hooks blocks.2.hook_resid_pre --max-tokens 200000 --out datasets/resid2',
      'the bundled model on the bundled novels: 200,000 tokens, 100 MB',
    ],
    [
      'unfold harvest --model checkpoints/novels-4l --dataset novels --hooks blocks.1.hook_mlp_out,blocks.1.attn.hook_z --dtype float16 --max-tokens 100000 --out datasets/two',
      'two hook points in one pass, half the disk',
    ],
    [
      'unfold harvest --model checkpoints/novels-4l --dataset novels --hooks blocks.0.hook_mlp_out --shard-rows 50000 --shards 0..1 --out datasets/part',
      'only the first two shards: other processes may make the rest, side by side',
    ],
  ],
  afterStop: 'finished shards are kept, and the same command makes the others',
  usesBackend: true,
  places: { reads: ['--config', '--model', '--dataset'], writes: '--out' },
  configure(command: Command) {
    command
      .option(
        '--config <file>',
        'YAML or JSON with the settings (model, text, hook_names, …); flags go on top',
      )
      .option('--model <dir or id>', 'a Hugging Face GPT-2: folder or hub id')
      .option(
        '--dataset <path or name>',
        'text: a file, folder, glob, or a folder in datasets/ with a manifest',
      )
      .option('--hooks, --hook-names <names>', 'hook points: names or globs, separated by commas', names)
      .requiredOption('--out <dir>', 'folder for the shards')
      .option('--context-size <tokens>', 'tokens in a context, BOS included (default 128)', positive)
      .option('--max-tokens <tokens>', 'tokens to use at most (default: the whole dataset)', positive)
      .option('--seed <n>', 'seed of the order of contexts (default 42)', natural)
      .addOption(
        new Option(
          '--dtype <type>',
          'float32 (default), float16 (half the disk) or bfloat16 (faster; its deviation is measured)',
        ).choices(['float32', 'float16', 'bfloat16']),
      )
      .option('--batch-contexts <n>', 'contexts in one forward pass (default 32)', positive)
      .option('--shard-rows <rows>', 'rows in a shard, about (default 131072)', positive)
      .option('--shards <range>', 'make only these shards, e.g. 3..7 (from 0, both ends included)')
      .option('--force', 'start although the disk seems too small');
    addRowOptions(command);
    addTextOptions(command);
  },
  async run(_args, options, io) {
    const { harvest } = await import('../../harvest/harvest.ts');
    const result = await harvest(await optionsOf(options), io.context);
    io.emit(result);
    await print(result, io);
  },
  async job(_args, options) {
    const { harvestRequest } = await import('../../jobs/kinds/harvest.ts');
    return harvestRequest(await optionsOf(options));
  },
};

export default command;

/** Flags over the file of --config. */
async function optionsOf(flags: Record<string, unknown>): Promise<HarvestOptions> {
  const { readSettings } = await import('../../harvest/config-file.ts');
  const file = typeof flags.config === 'string' ? await readSettings(flags.config) : {};
  const fileText = (file.text ?? {}) as Record<string, unknown>;
  const text = {
    dataset: flags.dataset,
    context_size: flags.contextSize,
    max_tokens: flags.maxTokens,
    seed: flags.seed,
    ...textOptions(flags),
  };
  const settings = {
    model: flags.model,
    hook_names: flags.hookNames,
    dtype: flags.dtype,
    batch_contexts: flags.batchContexts,
    shard_rows: flags.shardRows,
    exclude_special_tokens: flags.excludeSpecialTokens,
    seqpos_slice: flags.seqposSlice,
    shards: flags.shards,
    force: flags.force,
    out: flags.out,
  };
  // The library checks every value; what is missing or wrong is named by it.
  return { ...file, ...given(settings), text: { ...fileText, ...given(text) } } as HarvestOptions;
}

/** Only the entries that have a value. */
const given = (entries: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));

async function print(result: HarvestResult, io: CommandIO): Promise<void> {
  const { textTable } = await import('../../table.ts');
  const hooks = result.hooks.map(({ name, width, mean_norm }) => [name, width, mean_norm?.toFixed(3) ?? '']);
  const { rows, shards, shards_made, shards_skipped, bytes, seconds, tokens_per_second, complete, out } =
    result;
  const speed = shards_made
    ? `, ${Math.round(tokens_per_second).toLocaleString('en')} tokens/s in ${seconds.toFixed(1)} s`
    : '';
  io.print(textTable(['hook', 'width', 'mean norm'], hooks));
  io.print(
    `${out}: ${rows.toLocaleString('en')} ${result.dtype} rows, ${shards} shards (${shards_made} made now, ${shards_skipped} were there), ${(bytes / 1e6).toFixed(1)} MB${speed}`,
  );
  io.print(complete ? 'complete' : 'not complete: other shards are still to be made (--shards)');
}
