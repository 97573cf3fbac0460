/** @file `unfold encode`: activations and reconstructions of rows from anywhere. */
import type { Command } from 'commander';
import type { EncodeOptions } from '../../coders/encode-file.ts';
import { addCoderOptions, coderOptions } from '../coder-options.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';
import { positive } from '../values.ts';

const command: CommandSpec = {
  name: 'encode',
  summary: 'run a coder over rows from a safetensors file',
  description: `Reads rows ([n, d_in], or [n, heads, d_head] for coders of attn.hook_z) from a safetensors file and writes a
safetensors file with feature_acts [n, d_sae] and output (the reconstruction, in the shape of the rows). The coder is a
finished run of unfold train, or a coder in any layout as it is (see unfold import --help); of a set, --layer, --hook or
--name says which. Coders over several layers read their hooks side by side in one row.`,
  examples: [
    [
      'unfold cache --model checkpoints/novels-4l --prompt "The old man" --hooks blocks.2.hook_resid_pre --out resid.safetensors',
      'rows to encode: the activations of a prompt',
    ],
    [
      'unfold encode --coder runs/quickstart/train/run/final --input resid.safetensors --tensor blocks.2.hook_resid_pre --out latents.safetensors',
      "their latents in the quickstart's coder (unfold run quickstart); a coder of SAELens, sparsify, circuit-tracer, … does as well",
    ],
  ],
  afterStop: BEGINS_AGAIN,
  usesBackend: true,
  places: { reads: ['--coder', '--input'], writes: '--out' },
  configure(command: Command) {
    command
      .requiredOption('--coder <path>', 'folder or file of the coder, or a training run')
      .requiredOption('--input <file>', 'safetensors file of the rows')
      .option('--tensor <name>', 'which of its tensors', 'input')
      .requiredOption('--out <file>', 'safetensors file to write')
      .option('--batch-rows <n>', 'rows at a time', positive, 1024);
    addCoderOptions(command);
  },
  async run(_args, options, io) {
    const { encodeFile } = await import('../../coders/encode-file.ts');
    const result = await encodeFile(optionsOf(options), io.context);
    io.emit(result);
    const variance =
      result.explained_variance === null
        ? ''
        : `, explained variance ${result.explained_variance.toFixed(4)}`;
    io.print(
      `${result.out}: ${result.rows.toLocaleString('en')} rows through a ${result.architecture} coder of ${result.d_sae} latents, L0 ${result.l0.toFixed(2)}${variance}`,
    );
  },
  async job(_args, options) {
    const { encodeRequest } = await import('../../jobs/kinds/encode.ts');
    return encodeRequest(optionsOf(options));
  },
};

export default command;

function optionsOf(options: Record<string, unknown>): EncodeOptions {
  const { coder, input, tensor, out, batchRows } = options as Record<string, string>;
  const files = { coder: coder!, input: input!, tensor, out: out! };
  return { ...coderOptions(options), ...files, batch_rows: Number(batchRows) };
}
