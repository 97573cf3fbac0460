/** @file `unfold evaluate`: how good a coder is, alone and in its model. */
import type { Command } from 'commander';
import type { EvaluateCoderOptions } from '../../evaluate/evaluate-coder.ts';
import { addCoderOptions, CODER_FLAGS } from '../coder-options.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';
import { addTextOptions, isTextOption, TEXT_FLAGS, textOptions } from '../text-options.ts';
import { ids, positive } from '../values.ts';

const command: CommandSpec = {
  name: 'evaluate',
  summary: 'measure a coder: reconstruction, sparsity, and what the model loses with it spliced in',
  description: `Measures a coder (a SAELens directory, or a run of unfold train). With a model and text or token ids: every metric,
among them the loss with the reconstruction spliced in, zero and mean ablation, loss recovered and KL divergence. With
--shards alone: reconstruction and sparsity. Each metric's exact definition is in the JSON.

A cross-layer transcoder, a crosscoder, or a set with one coder a hook (transcoders of all layers) is measured as the one
replacement it is: a row for each hook replaced alone, and one for all of them at once, each layer's prediction made from
what the replaced layers before it have left. One coder of a set: --layer, --hook or --name.

Positions the coder was not trained on (exclude_special_tokens and seqpos_slice in its cfg.json) are left out unless
--all-tokens: they keep their activation and enter no mean. Text is packed as it was for the coder, by the same file, unless
a flag says otherwise.`,
  examples: [
    [
      'unfold evaluate --coder runs/quickstart/train/run/final --model checkpoints/novels-4l --dataset novels-heldout --max-tokens 20000',
      "the quickstart's coder on 20,000 held-out tokens",
    ],
    [
      'unfold evaluate --coder runs/quickstart/train/run/final --shards runs/quickstart/harvest/activations --json',
      'on stored activations, without a model; one JSON object',
    ],
  ],
  afterStop: BEGINS_AGAIN,
  usesBackend: true,
  modes: {
    of: ({ shards, dataset, tokens }) =>
      shards !== undefined
        ? '--shards'
        : dataset !== undefined
          ? '--dataset'
          : tokens !== undefined
            ? '--tokens'
            : undefined,
    always: [
      ...CODER_FLAGS,
      '--coder',
      '--hook-name',
      '--hook-name-out',
      '--all-tokens',
      '--exclude-tokens',
      '--per-latent',
      '--out',
    ],
    takes: {
      '--shards': ['--shards', '--max-tokens'],
      '--dataset': [
        ...['--model', '--dataset', '--max-tokens', '--context-size', '--batch-contexts', '--per-token'],
        ...TEXT_FLAGS,
      ],
      '--tokens': ['--model', '--tokens', '--batch-contexts', '--per-token'],
    },
  },
  // Beside a coder and its model an evaluation may lie; evaluateCoders sees to it that it replaces none of their files.
  places: { reads: ['--dataset', '--tokens', '--shards'], writes: '--out' },
  configure(command: Command) {
    addCoderOptions(command);
    command
      .requiredOption('--coder <dir>', 'a coder in any layout that unfold import knows, or a set')
      .option('--model <dir or id>', 'the GPT-2 it reads: folder or hub id')
      .option(
        '--dataset <path or name>',
        'text: a file, folder, glob, or a folder in datasets/ with a manifest',
      )
      .option('--tokens <file>', 'token ids instead of text: [[id, id, …], …], used as they are')
      .option('--shards <dir>', 'stored activations instead of model and text')
      .option(
        '--max-tokens <n>',
        'tokens of the dataset to use (default 65536), or first rows of the shards (default: all)',
        positive,
      )
      .option('--context-size <n>', "tokens in a context (default: the coder's, else 128)", positive)
      .option(
        '--batch-contexts <n>',
        'contexts in an evaluation batch (default 32); matters to the …_legacy metrics only',
        positive,
      )
      .option('--hook-name <name>', "hook the coder reads (default: its cfg.json's)")
      .option('--hook-name-out <name>', 'hook it writes (transcoders)')
      .option('--all-tokens', 'count every position, special tokens included')
      .option(
        '--exclude-tokens <ids>',
        'leave out positions with these input tokens, separated by commas',
        ids,
      )
      .option('--per-token <file>', "write every position's losses and divergences (safetensors)")
      .option(
        '--per-latent <file>',
        "write every latent's density, activations and weight statistics (safetensors)",
      )
      .option('--out <file>', 'write evaluation.json here');
    addTextOptions(command, "the coder's");
  },
  async run(_args, options, io) {
    const { evaluateCoders } = await import('../../evaluate/evaluate-coders.ts');
    const result = await evaluateCoders(flags(options), io.context);
    if ('layers' in result) {
      const { layersJson, layersTable } = await import('../../evaluate/layers-report.ts');
      io.print(layersTable(result.layers));
      io.emit({ ...result.layers.metrics, ...layersJson(result.layers, result.facts) });
      return;
    }
    const { evaluationJson, evaluationTable } = await import('../../evaluate/report.ts');
    const { evaluation, facts } = result;
    io.print(evaluationTable(evaluation));
    io.emit({ ...evaluation.metrics, ...evaluationJson(evaluation, facts) });
  },
  async job(_args, options) {
    const { evaluateRequest } = await import('../../jobs/kinds/evaluate.ts');
    return evaluateRequest(flags(options));
  },
};

export default command;

/** commander's camelCase to the library's names. */
function flags(options: Record<string, unknown>): EvaluateCoderOptions {
  const named = Object.entries(options)
    .filter(([key]) => !isTextOption(key))
    .map(([key, value]) => [key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`), value]);
  const text = textOptions(options);
  return { ...Object.fromEntries(named), ...(text && { text }) } as EvaluateCoderOptions;
}
