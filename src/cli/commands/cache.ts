/** @file `unfold cache`: activations of one input, under TransformerLens's names, into a safetensors file. */
import type { Command } from 'commander';
import { UnfoldError } from '../../errors.ts';
import type { HookFlags } from '../../model/hook-names.ts';
import type { ProcessOptions } from '../../model/process-weights.ts';
import type { Recorded } from '../../model/record.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { BEGINS_AGAIN, type CommandIO, type CommandSpec } from '../command.ts';
import { integer } from '../values.ts';

const command: CommandSpec = {
  name: 'cache',
  summary: 'write activations of a prompt, under their TransformerLens names, to a safetensors file',
  description: `Runs a model once and writes activations under their TransformerLens names, with the token ids ("tokens") and,
if the whole model ran, the logits ("logits"). Python reads the file with safetensors.torch.load_file.`,
  examples: [
    [
      'unfold cache --model checkpoints/novels-4l --prompt "The old woman looked" --hooks "blocks.*.hook_resid_post" --out acts.safetensors',
      'the residual stream after every block, and the logits',
    ],
    [
      'unfold cache --model checkpoints/novels-4l --prompt "The old woman looked" --hooks blocks.2.hook_resid_pre --stop-at-layer 2 --out resid.safetensors',
      'one hook point; nothing beyond it is computed',
    ],
    [
      'unfold cache --model checkpoints/novels-4l --prompt "The old woman looked" --hooks all --use-attn-result --fold-ln --out all.safetensors',
      "everything, with each head's own result and folded layer norms",
    ],
  ],
  afterStop: BEGINS_AGAIN,
  usesBackend: true,
  modes: {
    of: ({ prompt, tokens }) =>
      (prompt === undefined) === (tokens === undefined) ? undefined : tokens ? '--tokens' : '--prompt',
    always: [
      ...['--model', '--hook-names', '--out', '--stop-at-layer'],
      ...['--use-attn-result', '--use-split-qkv-input', '--use-attn-in', '--use-hook-mlp-in'],
      ...['--fold-ln', '--center-writing-weights', '--center-unembed', '--fold-value-biases'],
    ],
    takes: { '--prompt': ['--prompt', '--no-prepend-bos'], '--tokens': ['--tokens'] },
  },
  places: { reads: ['--model', '--tokens'], writes: '--out' },
  configure(command: Command) {
    command
      .requiredOption('--model <dir or id>', 'a Hugging Face GPT-2: folder or hub id')
      .option('--prompt <text>', 'text to run; BOS goes in front')
      .option('--tokens <file>', 'or ids, as JSON [[…], …] or […]; nothing is added')
      .requiredOption('--hooks, --hook-names <names>', 'names or globs separated by commas, or all')
      .requiredOption('--out <file>', 'safetensors file to write')
      .option('--stop-at-layer <n>', 'run blocks 0 to n - 1 only (negative: from the end)', integer)
      .option('--no-prepend-bos', 'leave BOS out in front of the prompt')
      .option('--use-attn-result', 'add attn.hook_result: the output of each head')
      .option('--use-split-qkv-input', 'add hook_q_input, hook_k_input, hook_v_input')
      .option('--use-attn-in', 'add hook_attn_in')
      .option('--use-hook-mlp-in', 'add hook_mlp_in')
      .option('--fold-ln', 'fold layer norms into the weights behind them')
      .option('--center-writing-weights', 'centre what writes to the residual stream')
      .option('--center-unembed', 'centre the unembedding over the vocabulary')
      .option('--fold-value-biases', 'move value biases into the output bias');
  },
  async run(_args, options, io) {
    const result = await record(options, io);
    io.emit(result);
    await print(result, io);
  },
};

export default command;

async function record(options: Record<string, unknown>, io: CommandIO): Promise<Recorded> {
  const { loadGPT2 } = await import('../../model/gpt2.ts');
  const { recordActivations } = await import('../../model/record.ts');
  const { assertFits } = await import('../../model/tokenizer.ts');
  const { tokens, tokenizer } = await inputTokens(options, io);
  const loaded = await loadGPT2(options.model as string, io.context);
  if (tokenizer) assertFits(tokenizer, loaded.cfg.d_vocab, io.context);
  const processing = processingOf(options);
  const model = Object.values(processing).some(Boolean) ? loaded.process(processing) : loaded;
  const stop = options.stopAtLayer === undefined ? {} : { stop_at_layer: options.stopAtLayer as number };
  return recordActivations(
    model,
    {
      tokens,
      hooks: [options.hookNames as string],
      flags: flagsOf(options),
      out: options.out as string,
      ...stop,
    },
    io.context,
  );
}

interface Input {
  tokens: number[][];
  /** Only if it made the ids. */
  tokenizer?: Tokenizer;
}

async function inputTokens(options: Record<string, unknown>, io: CommandIO): Promise<Input> {
  const { promptIds, readTokenIds } = await import('../../model/prompt.ts');
  const { prompt, tokens } = options;
  if (typeof tokens === 'string' && prompt === undefined) return { tokens: await readTokenIds(tokens) };
  if (typeof prompt === 'string' && tokens === undefined) {
    const { loadTokenizer } = await import('../../model/tokenizer.ts');
    const tokenizer = await loadTokenizer(options.model as string, io.context);
    return { tokens: [await promptIds(tokenizer, prompt, options.prependBos !== false)], tokenizer };
  }
  throw new UnfoldError('bad-setting', {
    where: 'unfold cache',
    expected: 'one input: --prompt TEXT or --tokens FILE',
    found: prompt === undefined ? 'neither' : 'both',
    todo: 'give one of them',
  });
}

function flagsOf(options: Record<string, unknown>): HookFlags {
  return {
    use_attn_result: options.useAttnResult === true,
    use_split_qkv_input: options.useSplitQkvInput === true,
    use_attn_in: options.useAttnIn === true,
    use_hook_mlp_in: options.useHookMlpIn === true,
  };
}

function processingOf(options: Record<string, unknown>): Required<ProcessOptions> {
  return {
    fold_ln: options.foldLn === true,
    center_writing_weights: options.centerWritingWeights === true,
    center_unembed: options.centerUnembed === true,
    fold_value_biases: options.foldValueBiases === true,
  };
}

async function print({ out, tokens, tensors }: Recorded, io: CommandIO): Promise<void> {
  const { textTable } = await import('../../table.ts');
  const rows = tensors.map(({ name, shape, mean, norm }) => [
    name,
    shape.join(' x '),
    mean.toPrecision(4),
    norm.toPrecision(5),
  ]);
  io.print(textTable(['name', 'shape', 'mean', 'norm'], rows));
  io.print(`tokens ${tokens.length} x ${tokens[0]!.length}; written to ${out}`);
}
